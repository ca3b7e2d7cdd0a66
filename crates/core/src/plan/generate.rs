//! A whole province that does not exist, for trials at full size: the same for the same numbers and the same seed, everywhere.
//!
//! Its cities and its number of counties are Jiangxi's; everything in them is made up.

use std::sync::Arc;

use crate::id::{Name, SchoolId, StationId};
use crate::plan::Plan;
use crate::plan::area::{Area, AreaCode, Station};
use crate::plan::change::Change;
use crate::plan::error::PlanError;
use crate::plan::hours::{Hours, Minute, Weekday, Weekdays};
use crate::plan::school::{Contact, Device, DeviceKind, Duty, GbCode, Line, Picture, Position, School, Zone};
use crate::plan::times::Times;
use crate::plan::words::{Label, Phone};
use crate::rng::Rng;

/// The cities of Jiangxi, and how many counties each has.
const CITIES: [(&str, u32); 11] = [
    ("南昌市", 9),
    ("景德镇市", 4),
    ("萍乡市", 5),
    ("九江市", 13),
    ("新余市", 2),
    ("鹰潭市", 3),
    ("赣州市", 18),
    ("吉安市", 13),
    ("宜春市", 10),
    ("抚州市", 11),
    ("上饶市", 12),
];
/// The province's code.
const PROVINCE: u32 = 360_000;

/// How large a made-up province is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Province {
    /// Its schools.
    pub schools: usize,
    /// Its police stations, duty desks not counted. At least one is made.
    pub stations: usize,
    /// What everything in it is drawn from.
    pub seed: u64,
}

impl Default for Province {
    /// A province at full size.
    fn default() -> Self {
        Self { schools: 30_000, stations: 1_800, seed: 1 }
    }
}

/// The plan of such a province: its area tree of 11 cities and 100 counties with their desks, its stations, and its schools with
/// everything that belongs to one.
///
/// # Errors
/// [`PlanError::Full`] if it would be larger than a plan may be.
pub fn province(size: &Province) -> Result<Plan, Vec<PlanError>> {
    let mut maker = Maker { rng: Rng::new(size.seed), parts: Vec::new(), posts: Vec::new() };
    maker.areas();
    maker.stations(size.stations.max(1));
    for number in 0..size.schools {
        maker.school(number);
    }
    Plan::of_parts(&maker.parts)
}

struct Maker {
    rng: Rng,
    parts: Vec<Change>,
    /// Counties at first, then each station with its county.
    posts: Vec<(AreaCode, Option<StationId>)>,
}

impl Maker {
    fn areas(&mut self) {
        self.area(PROVINCE, "江西省");
        for (city, (name, counties)) in (1_u32..).zip(CITIES) {
            let code = PROVINCE + city * 100;
            self.area(code, name);
            for county in 1..=counties {
                self.area(code + 1 + county, &format!("{name}{county}县"));
            }
        }
    }

    fn area(&mut self, number: u32, name: &str) {
        let (Ok(code), Some(desk)) = (AreaCode::new(number), name_of(&format!("desk-{number}"))) else { return };
        let desk = StationId(desk);
        let times = Times::default();
        let (area_name, desk_name) = (label(name), label(&format!("{name}公安局指挥中心")));
        self.parts.push(Change::Area(Arc::new(Area {
            code,
            name: area_name,
            desk: Some(desk.clone()),
            times,
            school_hours: vec![],
            holidays: vec![],
        })));
        let station = Station { id: desk, name: desk_name, area: Some(code), phone: phone("110") };
        self.parts.push(Change::Station(Arc::new(station)));
        if !number.is_multiple_of(100) {
            self.posts.push((code, None));
        }
    }

    fn stations(&mut self, count: usize) {
        let counties: Vec<AreaCode> = self.posts.drain(..).map(|(code, _)| code).collect();
        for number in 0..count {
            let code = counties[number % counties.len()];
            let Some(id) = name_of(&format!("station-{:05}", number + 1)).map(StationId) else { continue };
            let name = label(&format!("第{}派出所", number + 1));
            let number = phone(&format!("07{:02}-8{:06}", 91 + number % 9, number));
            self.parts.push(Change::Station(Arc::new(Station {
                id: id.clone(),
                name,
                area: Some(code),
                phone: number,
            })));
            self.posts.push((code, Some(id)));
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap_or(0)
    }

    /// A station other than these.
    fn another(&mut self, than: &[StationId]) -> Option<StationId> {
        let at = self.below(self.posts.len());
        self.posts[at].1.clone().filter(|station| !than.contains(station))
    }

    fn school(&mut self, number: usize) {
        let at = self.below(self.posts.len());
        let (area, Some(first)) = self.posts[at].clone() else { return };
        let Some(id) = name_of(&format!("36{:08}", number + 1)).map(SchoolId) else { return };
        let mut stations = vec![first];
        if self.rng.below(5) == 0 {
            stations.extend(self.another(&stations));
        }
        let neighbours = self.another(&stations).into_iter().collect();
        // The rectangle in which Jiangxi lies.
        let micros = |base: i32, spread: u64| base + i32::try_from(spread).unwrap_or(0);
        let (lat, lon) = (self.rng.below(5_500_000), self.rng.below(4_900_000));
        let mut school = School::bare(id, stations);
        school.name = label(&format!("第{}小学", number + 1));
        school.address = label(&format!("学府路{}号", self.below(900) + 1));
        school.position = Position::from_micros(micros(24_500_000, lat), micros(113_600_000, lon)).ok();
        school.area = Some(area);
        school.silent = self.rng.below(20) == 0;
        school.neighbours = neighbours;
        school.test_every_days = Some(30);
        self.fill(&mut school, area, number);
        self.parts.push(Change::School(Arc::new(school)));
    }

    fn fill(&mut self, school: &mut School, area: AreaCode, number: usize) {
        let zones =
            [("far", "校门外道路", Line::Far), ("gate", "校门口", Line::Gate), ("inner", "教学楼", Line::Inner)];
        for (id, name, line) in zones {
            school.zones.extend(name_of(id).map(|id| Zone { id, name: label(name), line }));
        }
        let camera = |serial: usize| {
            let code = format!("{}0011131{:07}", area.number(), (number * 4 + serial) % 10_000_000);
            GbCode::new(&code).ok().map(Picture::Gb28181)
        };
        let devices = [
            ("button-1", DeviceKind::Button, "门卫室", "gate", None),
            ("button-2", DeviceKind::Button, "校长室", "inner", None),
            ("post-1", DeviceKind::GuardPost, "大门岗亭", "gate", None),
            ("camera-1", DeviceKind::Camera, "大门", "gate", camera(0)),
            ("camera-2", DeviceKind::Camera, "操场", "inner", camera(1)),
            ("speaker-1", DeviceKind::Speaker, "大门", "gate", None),
            ("gate-1", DeviceKind::SecurityGate, "大门", "gate", None),
        ];
        for (id, kind, place, zone, picture) in devices {
            let (Some(id), zone) = (name_of(id), name_of(zone)) else { continue };
            school.devices.push(Device { id, kind, place: label(place), zone, picture });
        }
        for (name, role) in [("王老师", "校长"), ("李师傅", "安全负责人")] {
            let phone = phone(&format!("139{:08}", self.rng.below(100_000_000)));
            school.contacts.push(Contact { name: label(name), role: label(role), phone });
        }
        let mut days = Weekdays::default();
        Weekday::ALL[..5].iter().for_each(|day| days.insert(*day));
        for (from, to) in [(420, 510), (960, 1_050)] {
            if let (Ok(from), Ok(to)) = (Minute::new(from), Minute::new(to)) {
                school.duty.push(Duty { days, hours: Hours { from, to }, absent_secs: 60 });
            }
        }
    }
}

// What is made here is short and plain; a text that were not would be left out rather than end the program.
fn label(text: &str) -> Label {
    Label::new(text).unwrap_or_default()
}

fn phone(text: &str) -> Phone {
    Phone::new(text).unwrap_or_default()
}

fn name_of(text: &str) -> Option<Name> {
    Name::new(text).ok()
}
