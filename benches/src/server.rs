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
        Self::start_until(program, arguments, || ready(port))
    }

    /// Starts `program` and waits until it listens on `port`.
    pub(crate) fn start_listening(program: &Path, arguments: &[&str], port: u16) -> Self {
        Self::start_until(program, arguments, || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    fn start_until(program: &Path, arguments: &[&str], ready: impl Fn() -> bool) -> Self {
        let started = Instant::now();
        let mut process = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !ready() {
            assert!(process.try_wait().unwrap().is_none(), "{} {arguments:?} ended", program.display());
            assert!(started.elapsed() < Duration::from_secs(300), "{} is not ready", program.display());
            std::thread::sleep(Duration::from_micros(500));
        }
        Self {
            started_in: started.elapsed(),
            process,
        }
    }

    /// Processor time of all its threads since it started.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(&self.process.id().to_string())
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> f64 {
        memory(&self.process.id().to_string())
    }
}

/// Resident memory in MiB of the process `id`, or of this one, which is `self`.
pub(crate) fn memory(id: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Processor time of all threads of the process `id`, or of this one, which is `self`.
pub(crate) fn processor_time(id: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    TICK * fields(&stat, 11, 2).into_iter().sum::<u32>()
}

/// Processor time of this thread, to the microsecond: the kernel brings it up to date as a thread yields.
pub(crate) fn processor_time_of_thread() -> Duration {
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Processor time of the process `id`, of its children, and of those of them that have ended.
pub(crate) fn processor_time_of_family(id: u32) -> Duration {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").unwrap() {
        // One that is no process, or has just ended: its parent has its time now or has not yet, which is one tick or none.
        let Ok(stat) = fs::read_to_string(entry.unwrap().path().join("stat")) else {
            continue;
        };
        if stat.starts_with(&format!("{id} ")) {
            ticks += fields(&stat, 11, 4).into_iter().sum::<u32>();
        } else if fields(&stat, 1, 1) == [id] {
            ticks += fields(&stat, 11, 2).into_iter().sum::<u32>();
        }
    }
    TICK * ticks
}

/// Fields of `/proc/ID/stat` after the program's name in parentheses: the parent is the 1st, user and system time are the
/// 11th and 12th, those of ended children the next two.
fn fields(stat: &str, first: usize, count: usize) -> Vec<u32> {
    let after = stat.rsplit(')').next().unwrap();
    let fields = after.split_whitespace().skip(first).take(count);
    fields.map(|field| field.parse().unwrap_or(0)).collect()
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
