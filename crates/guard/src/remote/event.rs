//! Server-sent events, as far as the feed uses them.

/// No event is longer, in bytes.
const LONGEST: usize = 64 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) data: String,
}

/// What has come and is not yet an event.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    event: Event,
}

/// A stream that cannot be the feed.
#[derive(Debug)]
pub(super) struct NotEvents;

impl Events {
    /// The events that are whole with these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, NotEvents> {
        let mut whole = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| NotEvents)?;
                    whole.extend(self.line(line.trim_end_matches('\r')));
                }
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.event.data.len() > LONGEST {
                return Err(NotEvents);
            }
        }
        Ok(whole)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
            "data" => {
                self.event.data.push('\n');
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::{Event, Events, LONGEST};

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_the_same_however_their_bytes_are_cut() {
        let text =
            ": hello\n\nid: 7\nevent: revoked\ndata: {\"a\":1}\n\nevent:heartbeat\r\ndata: x\r\ndata: y\r\n\r\nretry: 5\n\ndata: cut";
        let expected = vec![event(Some("7"), "revoked", "{\"a\":1}"), event(None, "heartbeat", "x\ny")];
        for length in 1..text.len() {
            let mut events = Events::default();
            let parts = text.as_bytes().chunks(length);
            let read: Vec<_> = parts.flat_map(|part| events.read(part).unwrap()).collect();
            assert_eq!(read, expected, "{length}");
        }
    }

    #[test]
    fn what_never_becomes_an_event_is_not_kept() {
        let mut events = Events::default();
        assert!(events.read(&vec![b'x'; LONGEST]).is_ok());
        assert!(events.read(b"x").is_err());
        let mut events = Events::default();
        let line = format!("data: {}\n", "x".repeat(1024));
        assert!((0..80).any(|_| events.read(line.as_bytes()).is_err()));
    }
}
