//! What the emulator must know of an IPv4 packet: what it carries, and how to spoil it.
//!
//! Invariants: any bytes may be asked about; spoiling never touches the IP header, and never leaves a UDP or TCP checksum that was right
//! still right.

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// UDP, QUIC among it.
    Udp,
    /// TCP.
    Tcp,
    /// ICMP or whatever else.
    Other,
}

/// What to change in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Chooses the byte: any number, taken modulo the length of the payload.
    pub place: u64,
    /// The bits that flip. At least one is set.
    pub mask: u8,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The length of a UDP header, in bytes.
const UDP_HEADER: usize = 8;

/// What this IPv4 packet carries, by its header.
#[must_use]
pub fn carries(packet: &[u8]) -> Carries {
    match packet.get(9) {
        Some(&UDP) => Carries::Udp,
        Some(&TCP) => Carries::Tcp,
        _ => Carries::Other,
    }
}

/// Flips bits of one byte of the IP payload, so that its checksum is wrong. A packet without a payload stays as it is.
pub fn spoil(packet: &mut [u8], damage: Damage) {
    let header = usize::from(packet.first().map_or(0, |first| first & 0x0F)) * 4;
    let udp = packet.get(9) == Some(&UDP);
    let Some(payload) = packet.get_mut(header..).filter(|payload| !payload.is_empty()) else { return };
    // A changed length would be judged before the checksum, and a checksum of zero says that there is none: in a UDP packet with
    // data the data are changed, in an empty one a port.
    let range = match payload.len() {
        length if udp && length > UDP_HEADER => UDP_HEADER..length,
        length if udp => 0..length.min(4),
        length => 0..length,
    };
    let width = u64::try_from(range.len()).unwrap_or(u64::MAX);
    let at = range.start + usize::try_from(damage.place % width).unwrap_or(0);
    // One byte changes the one's complement sum by at most 0xFF00, so never by a multiple of 0xFFFF: the sum is surely wrong.
    payload[at] ^= damage.mask.max(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The internet checksum (RFC 1071) of a UDP packet with its pseudo header: zero if the packet is whole.
    fn sum(packet: &[u8]) -> u16 {
        let udp = &packet[20..];
        let mut words: Vec<u8> = packet[12..20].to_vec();
        words.extend([0, UDP]);
        words.extend(u16::try_from(udp.len()).unwrap().to_be_bytes());
        words.extend(udp);
        let total: u32 =
            words.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))).sum();
        let folded = (total & 0xFFFF) + (total >> 16);
        !u16::try_from((folded & 0xFFFF) + (folded >> 16)).unwrap()
    }

    fn udp_packet(data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(UDP_HEADER + data.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x12, 0x34, 0x56, 0x78, length[0], length[1], 0, 0]);
        packet.extend(data);
        let checksum = match sum(&packet) {
            0 => [0xFF, 0xFF],
            other => other.to_be_bytes(),
        };
        packet[26..28].copy_from_slice(&checksum);
        packet
    }

    proptest! {
        #[test]
        fn a_spoilt_packet_never_passes_its_checksum(data in prop::collection::vec(any::<u8>(), 0..60), place: u64, mask in 1u8..) {
            let whole = udp_packet(&data);
            prop_assert_eq!(sum(&whole), 0);
            let mut spoilt = whole.clone();
            spoil(&mut spoilt, Damage { place, mask });
            prop_assert_ne!(sum(&spoilt), 0);
            prop_assert_eq!(&spoilt[..20], &whole[..20]);
            prop_assert_ne!(&spoilt[26..28], &[0, 0]);
            prop_assert_eq!(spoilt.iter().zip(&whole).filter(|(a, b)| a != b).count(), 1);
        }

        #[test]
        fn any_bytes_may_be_spoilt(mut bytes in prop::collection::vec(any::<u8>(), 0..80), place: u64, mask in 1u8..) {
            let before = bytes.clone();
            spoil(&mut bytes, Damage { place, mask });
            prop_assert!(bytes.iter().zip(&before).filter(|(a, b)| a != b).count() <= 1);
        }
    }

    #[test]
    fn the_header_says_what_is_carried() {
        assert_eq!(carries(&udp_packet(b"alarm")), Carries::Udp);
        let mut other = udp_packet(b"");
        other[9] = TCP;
        assert_eq!(carries(&other), Carries::Tcp);
        other[9] = 1;
        assert_eq!(carries(&other), Carries::Other);
        assert_eq!(carries(&[]), Carries::Other);
    }
}
