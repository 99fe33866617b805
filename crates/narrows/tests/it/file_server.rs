//! A backend that knows nothing of tokens: Python's own file server, over a folder.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The server of the standard library, which writes down what it is asked before it answers.
const SERVER: &str = r"
import functools, http.server, json, sys
class Files(http.server.SimpleHTTPRequestHandler):
    def log_request(self, code='-', size='-'):
        print(json.dumps([self.requestline, self.headers.items()]), file=seen, flush=True)
seen = open(sys.argv[2], 'a')
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Files, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
";

/// It ends with this value.
pub(crate) struct FileServer {
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
}

/// A request that reached it.
pub(crate) struct Seen {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    /// The values of all headers of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

impl FileServer {
    /// With these files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join("files").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut child = Command::new("python3")
            .args(["-c", SERVER])
            .args([folder.path().join("files"), folder.path().join("seen")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(said.lines().next()));
        let port = told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { address, folder, child }
    }

    /// All that it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let text = std::fs::read_to_string(self.folder.path().join("seen")).unwrap();
        let read = |line: &str| {
            let (line, headers): (String, Vec<(String, String)>) = serde_json::from_str(line).unwrap();
            let headers = headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
            Seen { line, headers }
        };
        text.lines().map(read).collect()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
