//! A store on this machine that gives files, parts of files and lists, and fails as it is told to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What the store does to one request instead of answering it.
pub enum Fault {
    /// Answers with a status and nothing else.
    Status(&'static str),
    /// Closes the connection after so many bytes of the body.
    Cut(u64),
    /// Falls silent after so many bytes of the body.
    Stall(u64),
    /// Sends the client elsewhere.
    Redirect(String),
    /// Gives the whole file, whatever part was asked for.
    Whole,
    /// Sends so many bytes more than there are.
    Longer(u64),
    /// As `Cut`, and the file is another from then on.
    Change(u64, Content),
}

/// The content of a file: `unit` so many times, and `tail`.
#[derive(Clone, Default)]
pub struct Content {
    pub unit: Vec<u8>,
    pub times: u64,
    pub tail: Vec<u8>,
    /// Told to clients, if there is one.
    pub tag: Option<&'static str>,
}

impl Content {
    pub fn new(bytes: Vec<u8>, tag: Option<&'static str>) -> Self {
        let tail = bytes;
        Self {
            tail,
            tag,
            ..Self::default()
        }
    }

    fn len(&self) -> u64 {
        self.unit.len() as u64 * self.times + self.tail.len() as u64
    }

    /// What follows from `at` on, up to the end of a unit.
    fn from(&self, at: u64) -> &[u8] {
        let unit = self.unit.len() as u64;
        match at < unit * self.times {
            true => &self.unit[(at % unit) as usize..],
            false => &self.tail[(at - unit * self.times) as usize..],
        }
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Instant,
    /// Path and query.
    pub target: String,
    /// Its headers, with names in lower case.
    pub headers: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    files: Mutex<BTreeMap<String, Content>>,
    faults: Mutex<HashMap<String, VecDeque<Fault>>>,
    requests: Mutex<Vec<Request>>,
    /// Bytes of bodies that the system took for sending.
    sent: AtomicU64,
}

/// Runs until the test's process ends.
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State::default());
        let served = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = served.clone();
                // A client that goes away is no fault of the store.
                std::thread::spawn(move || state.serve(client).ok());
            }
        });
        Self { address, state }
    }

    /// A URL of this server; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn put(&self, path: &str, content: Content) {
        let mut files = self.state.files.lock().expect("files");
        files.insert(path_of(path), content);
    }

    /// The next requests of this path go wrong so, one after another.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut all = self.state.faults.lock().expect("faults");
        all.entry(path.to_owned()).or_default().extend(faults);
    }

    /// No request goes wrong any more.
    pub fn mend(&self) {
        self.state.faults.lock().expect("faults").clear();
    }

    /// The requests of this path so far, or the lists asked for under it.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        let requests = self.state.requests.lock().expect("requests");
        let of_path = |request: &&Request| path_of(&request.target) == path_of(path);
        requests.iter().filter(of_path).cloned().collect()
    }

    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

/// The path of a target, whose escapes differ from client to client.
fn path_of(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let mut decoded = url::form_urlencoded::parse(path.as_bytes());
    let (path, _) = decoded.next().unwrap_or_default();
    path.into_owned()
}

impl State {
    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(client.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let request = Request {
            at: Instant::now(),
            target,
            headers,
        };
        self.requests
            .lock()
            .expect("requests")
            .push(request.clone());
        let path = path_of(&request.target);
        let mut faults = self.faults.lock().expect("faults");
        let fault = faults.get_mut(&path).and_then(VecDeque::pop_front);
        drop(faults);
        self.answer(client, &request, fault)
    }

    fn answer(
        &self,
        mut client: TcpStream,
        request: &Request,
        fault: Option<Fault>,
    ) -> std::io::Result<()> {
        let mut stop_after = u64::MAX;
        let mut may_range = true;
        let mut stalls = false;
        let mut more = 0;
        let mut change = None;
        match fault {
            None => {}
            Some(Fault::Status(status)) => return head(&mut client, status, "", 0),
            Some(Fault::Redirect(to)) => {
                return head(&mut client, "302 Found", &format!("Location: {to}\r\n"), 0);
            }
            Some(Fault::Cut(after)) => stop_after = after,
            Some(Fault::Stall(after)) => (stop_after, stalls) = (after, true),
            Some(Fault::Whole) => may_range = false,
            Some(Fault::Longer(by)) => more = by,
            Some(Fault::Change(after, content)) => (stop_after, change) = (after, Some(content)),
        }
        if let Some(list) = self.list(&request.target) {
            head(&mut client, "200 OK", "", list.len() as u64)?;
            return client.write_all(list.as_bytes());
        }
        let files = self.files.lock().expect("files");
        let Some(content) = files.get(&path_of(&request.target)).cloned() else {
            return head(&mut client, "404 Not Found", "", 0);
        };
        drop(files);
        let tag = content
            .tag
            .map_or_else(String::new, |tag| format!("ETag: {tag}\r\n"));
        let expected = request.headers.get("if-match");
        if expected.is_some_and(|expected| Some(expected.as_str()) != content.tag) {
            return head(&mut client, "412 Precondition Failed", "", 0);
        }
        let range = request.headers.get("range").filter(|_| may_range);
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let start: u64 = range.map_or(0, |start| start.parse().expect("a range"));
        let (end, size) = (content.len() - 1, content.len());
        let (status, part) = match range {
            Some(_) => (
                "206 Partial Content",
                format!("Content-Range: bytes {start}-{end}/{size}\r\n"),
            ),
            None => ("200 OK", String::new()),
        };
        let told = format!("{tag}{part}");
        head(&mut client, status, &told, size - start + more)?;
        let stop = size.min(start.saturating_add(stop_after));
        let mut at = start;
        while at < stop {
            let chunk = content.from(at);
            let most = usize::try_from(stop - at)
                .unwrap_or(usize::MAX)
                .min(1 << 16);
            let chunk = &chunk[..chunk.len().min(most)];
            client.write_all(chunk)?;
            self.sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            at += chunk.len() as u64;
        }
        client.write_all(&vec![b'x'; more as usize])?;
        if let Some(change) = change {
            let mut files = self.files.lock().expect("files");
            files.insert(path_of(&request.target), change);
        }
        if stalls && stop < size {
            // Until the client has had enough.
            let _ = client.read(&mut [0])?;
        }
        Ok(())
    }

    /// A page of two objects, as S3 and Google list them, or all, as Azure does.
    fn list(&self, target: &str) -> Option<String> {
        let query = url::Url::parse(&format!("http://host{target}")).expect("a URL");
        let query: HashMap<_, _> = query.query_pairs().into_owned().collect();
        let bucket = format!("{}/", path_of(target).trim_end_matches('/'));
        let begin = format!("{bucket}{}", query.get("prefix").map_or("", String::as_str));
        let files = self.files.lock().expect("files");
        let keys = files.keys().filter(|path| path.starts_with(&begin));
        let keys = keys.map(|path| &path[bucket.len()..]);
        if query.get("list-type").is_some_and(|kind| kind == "2") {
            let from = query.get("continuation-token");
            let from = from.map_or(0, |from| from.parse().expect("a page"));
            let page: Vec<_> = keys.skip(from).take(3).collect();
            let more = match page.len() {
                3 => format!(
                    "<NextContinuationToken>{}</NextContinuationToken>",
                    from + 2
                ),
                _ => String::new(),
            };
            let object = |key: &&str| {
                format!(
                    "<Contents><Key>{key}</Key><Size>9</Size>\
                     <LastModified>2026-01-02T03:04:05Z</LastModified></Contents>"
                )
            };
            let objects: String = page.iter().take(2).map(object).collect();
            return Some(format!(
                "<ListBucketResult>{more}{objects}</ListBucketResult>"
            ));
        }
        (query.get("comp").map(String::as_str) == Some("list")).then(|| {
            let blob = |key: &str| {
                format!(
                    "<Blob><Name>{key}</Name><Properties><Last-Modified>{DATE}</Last-Modified>\
                     <Content-Length>9</Content-Length><Content-Type>a/b</Content-Type>\
                     <Etag>x</Etag></Properties></Blob>"
                )
            };
            let blobs: String = keys.map(blob).collect();
            format!("<EnumerationResults><Blobs>{blobs}</Blobs></EnumerationResults>")
        })
    }
}

const DATE: &str = "Fri, 02 Jan 2026 03:04:05 GMT";

fn head(client: &mut TcpStream, status: &str, more: &str, len: u64) -> std::io::Result<()> {
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nLast-Modified: {DATE}\r\n{more}\
         Connection: close\r\n\r\n"
    )
}
