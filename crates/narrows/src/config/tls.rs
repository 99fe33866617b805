//! `tls` tables: the files that they name, and what is doubtful about them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use broker::{TlsFiles, TlsIdentity};

use super::file::Tls;
use super::problem::{Problem, Problems};

/// What of a private key's mode is too much: its group may read it, and nobody else may do anything.
const TOO_OPEN: u32 = 0o037;

/// The files that `table` names.
pub(super) fn files(table: &Tls) -> TlsFiles {
    TlsFiles {
        cert_file: PathBuf::from(&table.cert_file),
        key_file: PathBuf::from(&table.key_file),
        client_ca_file: table.client_ca_file.as_ref().map(PathBuf::from),
    }
}

/// The identity that the files of the table at `path` make, or a problem at the key that is wrong.
pub(super) fn load(files: &TlsFiles, path: &str, problems: &mut Problems) -> Option<TlsIdentity> {
    match TlsIdentity::load(files) {
        Ok(identity) => Some(identity),
        Err(error) => {
            let message = format!("`{}`: {}", error.path.display(), error.why);
            problems.add(&format!("{path}.{}", error.key), message);
            None
        }
    }
}

/// Where protocol, address and files do not go together, without being wrong by themselves.
pub(super) fn doubts(issuer: &str, listen: SocketAddr, files: Option<&TlsFiles>, problems: &Problems) -> Vec<Problem> {
    let mut doubts = Vec::new();
    let secure = issuer.starts_with("https:");
    match files {
        None if secure && !listen.ip().is_loopback() => doubts.push(problems.at(
            "listen",
            format!(
                "`{listen}` is plain HTTP and not on loopback, while `issuer` is https; set `tls`, or listen on loopback behind a TLS proxy"
            ),
        )),
        Some(_) if !secure && !issuer.is_empty() => {
            doubts.push(problems.at(
                "issuer",
                "is http while `tls` is set; clients are sent to addresses that are not served".to_owned(),
            ));
        }
        _ => {}
    }
    if let Some(path) = files.map(|files| &files.key_file).filter(|path| is_too_open(path)) {
        doubts.push(problems.at(
            "tls.key_file",
            format!("`{}` can be read by others on this machine; `chmod 600` it", path.display()),
        ));
    }
    doubts
}

pub(super) fn is_too_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & TOO_OPEN != 0)
}
