//! Other people's proxies: with what `narrows snippet` prints, and with nothing but the way to the service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::installation::Installation;
use crate::server::Server;
use crate::{Arguments, free_port};

/// A fresh folder for their files.
pub(super) fn folder(arguments: &Arguments, name: &str) -> PathBuf {
    let folder = arguments.folder.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

/// nginx that only proxies.
pub(super) fn nginx_alone(folder: &Path, port: u16, upstream: u16) -> Server {
    let server = include_str!("nginx-alone.conf");
    start_nginx(&folder.join("nginx-alone"), &at(server, port, upstream), port)
}

/// nginx that asks a server of its own, which lets everything pass.
pub(super) fn nginx_constant(folder: &Path, port: u16, upstream: u16) -> Server {
    let server = include_str!("nginx-constant.conf").replace("@CONSTANT@", &free_port().to_string());
    start_nginx(&folder.join("nginx-constant"), &at(&server, port, upstream), port)
}

/// nginx as the program says.
pub(super) fn nginx(arguments: &Arguments, installation: &Installation, folder: &Path, port: u16) -> Server {
    let server = snippet(arguments, &installation.folder, "nginx", "nginx");
    start_nginx(&folder.join(format!("nginx-{port}")), &server, port)
}

/// Envoy that only proxies.
pub(super) fn envoy_alone(arguments: &Arguments, folder: &Path, port: u16, upstream: u16) -> Server {
    let whole = include_str!("envoy-alone.yaml");
    start_envoy(arguments, &folder.join("envoy-alone"), &at(whole, port, upstream), port)
}

/// Envoy as the program says of this boundary, whose configuration is in `config`.
pub(super) fn envoy(arguments: &Arguments, config: &Path, boundary: &str, folder: &Path, port: u16) -> Server {
    let whole = snippet(arguments, config, "envoy", boundary);
    start_envoy(arguments, &folder.join(format!("envoy-{port}")), &whole, port)
}

fn at(text: &str, port: u16, upstream: u16) -> String {
    text.replace("@PORT@", &port.to_string()).replace("@UPSTREAM@", &upstream.to_string())
}

fn snippet(arguments: &Arguments, config: &Path, proxy: &str, boundary: &str) -> String {
    run(arguments, &["snippet", proxy, "--boundary", boundary], config)
}

/// What the program prints that is run in `folder`, beside its configuration.
pub(super) fn run(arguments: &Arguments, told: &[&str], folder: &Path) -> String {
    let program = arguments.narrows.canonicalize().unwrap();
    let printed = Command::new(program).args(told).current_dir(folder).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8(printed.stdout).unwrap()
}

/// One process that works, as one core can use.
fn start_nginx(folder: &Path, server: &str, port: u16) -> Server {
    fs::create_dir_all(folder).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .concat();
    let whole = format!(
        "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr crit;\nevents {{}}\nhttp {{\naccess_log off;\n\
         keepalive_requests 1000000;\n{temporary}{server}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), whole).unwrap();
    let folder = folder.to_str().unwrap();
    Server::start_listening(
        Path::new("/usr/sbin/nginx"),
        &["-p", folder, "-e", "stderr", "-c", "nginx.conf"],
        port,
    )
}

fn start_envoy(arguments: &Arguments, folder: &Path, whole: &str, port: u16) -> Server {
    fs::create_dir_all(folder).unwrap();
    let file = folder.join("envoy.yaml");
    fs::write(&file, whole).unwrap();
    let told = [
        "-c",
        file.to_str().unwrap(),
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
        "--log-level",
        "off",
    ];
    Server::start_listening(&arguments.envoy, &told, port)
}
