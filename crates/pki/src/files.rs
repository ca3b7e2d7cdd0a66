//! Reading and writing PEM files.
//!
//! Invariant: a private key is never on the disk with a mode that others can read, not for an instant, and a file is
//! either the old one or the whole new one, also when the power fails in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// No PEM file of ours comes near this; a larger one is another file.
const PEM_FILE_BYTES: u64 = 256 * 1_024;

/// Why a certificate or key file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Check the path and its permissions.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Check the folder, its permissions and the space on the disk. The old file, if there was one, is still there.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The path points at something else.
    #[error("{} is larger than 256 KiB: not a certificate or key file", .0.display())]
    TooLarge(PathBuf),
    /// The file has no such block; perhaps certificate and key were mixed up.
    #[error("{} holds no PEM {what} (a block that begins with {begins})", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// How its block begins.
        begins: &'static str,
    },
    /// The file is damaged; write it again from its source.
    #[error("{} is not valid PEM: {error}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        error: pem::Error,
    },
}

/// All certificates of a file, at least one.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(path)?;
    let mut certificates = Vec::new();
    for item in CertificateDer::pem_slice_iter(&bytes) {
        certificates.push(item.map_err(|error| FileError::NotPem { path: path.to_owned(), error })?);
    }
    if certificates.is_empty() {
        let (what, begins) = ("certificate", "-----BEGIN CERTIFICATE-----");
        return Err(FileError::Missing { path: path.to_owned(), what, begins });
    }
    Ok(certificates)
}

/// The first private key of a file.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            FileError::Missing { path: path.to_owned(), what: "private key", begins: "-----BEGIN PRIVATE KEY-----" }
        }
        error => FileError::NotPem { path: path.to_owned(), error },
    })
}

/// The file as text.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

/// Writes `text` beside `path` with `mode`, syncs it and puts it in the place of `path`.
pub(crate) fn write(path: &Path, mode: u32, text: &str) -> Result<(), FileError> {
    write_io(path, mode, text).map_err(|error| FileError::Write { path: path.to_owned(), error })
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let fail = |error| FileError::Read { path: path.to_owned(), error };
    if fs::metadata(path).map_err(fail)?.len() > PEM_FILE_BYTES {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    fs::read(path).map_err(fail)
}

fn write_io(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".new-{}", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // A leftover of a process that died here and whose number came round again; `create_new` keeps its mode out of play.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written =
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The error that counts is the first one; a leftover is removed by the next attempt.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
