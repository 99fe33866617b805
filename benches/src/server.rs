//! A server under measurement: a process of its own on the first processor.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel counts processor time in ticks of a hundredth of a second (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// A running server; it is killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    /// From the start of the process to its first answer that it is ready.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts `program` and waits until `GET /readyz` on `port` answers 200.
    pub(crate) fn start(program: &Path, arguments: &[&str], port: u16) -> Self {
        let started = Instant::now();
        let mut process = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !ready(port) {
            assert!(process.try_wait().unwrap().is_none(), "{} {arguments:?} ended", program.display());
            assert!(started.elapsed() < Duration::from_secs(60), "{} is not ready", program.display());
            std::thread::sleep(Duration::from_micros(500));
        }
        Self {
            started_in: started.elapsed(),
            process,
        }
    }

    /// Processor time of all its threads since it started.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The fields after the program's name in parentheses; user and system time are the 14th and 15th of all.
        let after = stat.rsplit(')').next().unwrap();
        let ticks: u32 = after.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum();
        TICK * ticks
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut reply = [0; 12];
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").is_ok()
        && stream.read_exact(&mut reply).is_ok()
        && reply.ends_with(b" 200")
}
