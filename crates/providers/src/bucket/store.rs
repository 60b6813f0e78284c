//! Objects of a bucket: put, got, listed and removed, each over a connection that is kept for the next.
//!
//! What was put is checked against its SHA-256 by whoever keeps it, and what is got by us, where it comes with one. Every request is tried
//! again where that may help.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::Address;
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::credentials::Ec2SecurityCredentialsMetadataResponse;
use rusty_s3::{Bucket, Credentials, S3Action};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::file::BucketFile;
use crate::http::{self, Connection, Secured};
use crate::postgres::NO_LINK;
use crate::so_far::SoFar;
use crate::tls::{self, Spoken};
use crate::{Inner, trouble};

/// How long a signed request may be under way before it is sent.
const SIGNED_FOR: Duration = Duration::from_secs(3600);

/// How long a request may take that moves no file, and what is added for each file.
const REQUEST: Duration = Duration::from_secs(30);

/// The slowest that a file may be moved, in bytes a second.
const SLOWEST: u64 = 256 * 1024;

/// How long to wait before each further try.
const AGAIN: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

/// How long keys of the machine's role are used before they are asked for again.
const KEYS_LAST: Duration = Duration::from_secs(300);

/// Where a machine of EC2 asks for the keys of its role.
const METADATA: &str = "http://169.254.169.254";

/// How long the metadata service may take: it is on the machine itself.
const METADATA_ANSWERS: Duration = Duration::from_secs(2);

/// The SHA-256 of what is put, which whoever keeps it compares.
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Asks for the SHA-256 with which something was put.
const WITH_CHECKSUM: (&str, &str) = ("x-amz-checksum-mode", "ENABLED");

/// The most that an object holds which is put at once, as ours are.
const MAX_OBJECT: u64 = 5 << 30;

/// The most that an answer in XML or JSON may hold: a thousand objects with long keys.
const MAX_TEXT: usize = 4 << 20;

const PIECE: usize = 128 * 1024;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A bucket that can be used.
pub(super) struct Store<'a> {
    inner: &'a Inner,
    file: BucketFile,
    lines: Mutex<Vec<Line>>,
    keys: tokio::sync::Mutex<Option<(Credentials, Instant)>>,
}

/// A connection on which one request is asked after another.
struct Line {
    sender: SendRequest<Body>,
    carrier: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// Why a request failed.
#[derive(Debug)]
enum Trouble {
    /// Asked again, it may succeed.
    Passing(String),
    /// It will not.
    Lasting(String),
    /// What was to be put is there.
    Taken,
    /// What was asked for is not.
    Missing,
}

/// What becomes of a body.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Text,
    /// It is written there.
    File(&'a Path),
    /// Only its SHA-256, as S3 writes it.
    Digest,
}

fn lasting(error: &dyn fmt::Display) -> Trouble {
    Trouble::Lasting(error.to_string())
}

/// What is asked of a bucket.
enum Asked<'a> {
    Put { key: String, content: Content<'a>, length: u64, digest: String },
    Get { key: String },
    Remove { key: String },
    List { prefix: String, after: Option<String> },
}

#[derive(Clone, Copy)]
enum Content<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

impl Asked<'_> {
    /// How many bytes go with it.
    const fn length(&self) -> u64 {
        match self {
            Asked::Put { length, .. } => *length,
            Asked::Get { .. } | Asked::Remove { .. } | Asked::List { .. } => 0,
        }
    }

    /// Signed, with what goes with it.
    async fn request(&self, bucket: &Bucket, credentials: &Credentials) -> Result<Request<Body>, Trouble> {
        let credentials = Some(credentials);
        let nothing = || full(Bytes::new());
        let request = match self {
            Asked::Put { key, content, length, digest } => {
                let mut action = bucket.put_object(credentials, key);
                action.headers_mut().insert(CHECKSUM, digest);
                let request = Request::builder()
                    .method(Method::PUT)
                    .uri(action.sign(SIGNED_FOR).as_str())
                    .header(header::CONTENT_LENGTH, *length)
                    .header(header::IF_NONE_MATCH, "*")
                    .header(CHECKSUM, digest);
                request.body(match content {
                    Content::File(path) => streamed(path).await.map_err(|error| lasting(&of(path, &error)))?,
                    Content::Bytes(bytes) => full(Bytes::copy_from_slice(bytes)),
                })
            }
            Asked::Get { key } => {
                let (name, value) = WITH_CHECKSUM;
                let mut action = bucket.get_object(credentials, key);
                action.headers_mut().insert(name, value);
                Request::builder().uri(action.sign(SIGNED_FOR).as_str()).header(name, value).body(nothing())
            }
            Asked::Remove { key } => {
                let url = bucket.delete_object(credentials, key).sign(SIGNED_FOR);
                Request::builder().method(Method::DELETE).uri(url.as_str()).body(nothing())
            }
            Asked::List { prefix, after } => {
                let mut action = bucket.list_objects_v2(credentials);
                action.with_prefix(prefix.as_str());
                if let Some(after) = after {
                    action.with_continuation_token(after.as_str());
                }
                Request::builder().uri(action.sign(SIGNED_FOR).as_str()).body(nothing())
            }
        };
        request.map_err(|error| lasting(&error))
    }
}

/// Whether something was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// There is one of that key.
    Taken,
}

impl<'a> Store<'a> {
    /// Reads the bucket's file. Nothing is asked of the bucket.
    pub(super) async fn open(inner: &'a Inner, path: &Path) -> Result<Store<'a>, String> {
        let file = path.to_owned();
        let read = inner.gates.run(format!("read {}", path.display()), move || BucketFile::read(&file)).await;
        let file = read.map_err(|error| error.to_string())?;
        Ok(Store { inner, file, lines: Mutex::default(), keys: tokio::sync::Mutex::default() })
    }

    /// Where it is, for people.
    pub(super) fn name(&self) -> String {
        format!("s3://{}/{}", self.file.bucket.name(), self.file.prefix)
    }

    /// Puts a file under a key under which nothing is.
    pub(super) async fn put_file(&self, key: &str, path: &Path) -> Result<Put, String> {
        let (length, digest) = digest(path).await.map_err(|error| of(path, &error))?;
        self.put(key, Content::File(path), length, digest).await
    }

    /// The same of what is in memory.
    pub(super) async fn put_bytes(&self, key: &str, bytes: &[u8]) -> Result<Put, String> {
        let digest = BASE64_STANDARD.encode(Sha256::digest(bytes));
        self.put(key, Content::Bytes(bytes), bytes.len() as u64, digest).await
    }

    async fn put(&self, key: &str, content: Content<'_>, length: u64, digest: String) -> Result<Put, String> {
        let asked = Asked::Put { key: self.key(key)?, content, length, digest };
        match self.ask(&asked, Wanted::Text).await {
            Ok(_) => Ok(Put::Done),
            Err(Trouble::Taken) => Ok(Put::Taken),
            Err(trouble) => Err(self.told("putting", key, trouble)),
        }
    }

    /// Gets an object into a file, which is made anew; `false`: it is not there.
    pub(super) async fn get_file(&self, key: &str, to: &Path) -> Result<bool, String> {
        self.get(key, Wanted::File(to)).await.map(|it| it.is_some())
    }

    /// Gets an object of a few lines; `None`: it is not there.
    pub(super) async fn get_text(&self, key: &str) -> Result<Option<String>, String> {
        self.get(key, Wanted::Text).await
    }

    /// Whether an object holds what a file holds.
    pub(super) async fn is_same(&self, key: &str, path: &Path) -> Result<bool, String> {
        let (_, here) = digest(path).await.map_err(|error| of(path, &error))?;
        Ok(self.get(key, Wanted::Digest).await? == Some(here))
    }

    async fn get(&self, key: &str, wanted: Wanted<'_>) -> Result<Option<String>, String> {
        match self.ask(&Asked::Get { key: self.key(key)? }, wanted).await {
            Ok(text) => Ok(Some(text)),
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(self.told("getting", key, trouble)),
        }
    }

    /// Removes an object. That it is not there is no error.
    pub(super) async fn remove(&self, key: &str) -> Result<(), String> {
        match self.ask(&Asked::Remove { key: self.key(key)? }, Wanted::Text).await {
            Ok(_) | Err(Trouble::Missing) => Ok(()),
            Err(trouble) => Err(self.told("removing", key, trouble)),
        }
    }

    /// All keys that begin so, and how many bytes each object has.
    pub(super) async fn list(&self, below: &str) -> Result<BTreeMap<String, u64>, String> {
        let prefix = format!("{}{below}", self.file.prefix);
        let mut all = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let asked = Asked::List { prefix: prefix.clone(), after: after.clone() };
            let text = self.ask(&asked, Wanted::Text).await.map_err(|trouble| self.told("listing", below, trouble))?;
            let page = ListObjectsV2::parse_response(&text);
            let page = page.map_err(|error| format!("{}: its list can't be read: {error}", self.name()))?;
            for object in page.contents {
                match object.key.strip_prefix(&self.file.prefix).filter(|it| it.starts_with(below)) {
                    Some(key) => drop(all.insert(key.to_owned(), object.size.unwrap_or_default())),
                    None => return Err(format!("{}: asked for {below}, it lists {}", self.name(), object.key)),
                }
            }
            let next = page.next_continuation_token.filter(|it| !it.is_empty());
            if next.is_none() {
                return Ok(all);
            }
            if next == after {
                return Err(format!("{}: its list of {below} does not end", self.name()));
            }
            after = next;
        }
    }

    /// A key below the prefix. Whatever a URL would take for another place is refused.
    fn key(&self, key: &str) -> Result<String, String> {
        if key.split('/').any(|it| matches!(it, "." | "..")) {
            return Err(format!("{}: there can be no `{key}` in it", self.name()));
        }
        Ok(format!("{}{key}", self.file.prefix))
    }

    fn told(&self, doing: &str, key: &str, trouble: Trouble) -> String {
        let why = match trouble {
            Trouble::Passing(why) | Trouble::Lasting(why) => why,
            Trouble::Taken => "there is one of that key".to_owned(),
            Trouble::Missing => "there is nothing of that key".to_owned(),
        };
        trouble::clip(&format!("{}: {doing} {key}: {why}", self.name()))
    }

    /// Asks, and again where that may help.
    async fn ask(&self, asked: &Asked<'_>, wanted: Wanted<'_>) -> Result<String, Trouble> {
        for wait in AGAIN {
            match self.ask_once(asked, wanted).await {
                Err(Trouble::Passing(_)) => sleep(wait).await,
                done => return done,
            }
        }
        self.ask_once(asked, wanted).await
    }

    async fn ask_once(&self, asked: &Asked<'_>, wanted: Wanted<'_>) -> Result<String, Trouble> {
        let credentials = self.credentials().await?;
        let patience = REQUEST + Duration::from_secs(asked.length() / SLOWEST);
        let silent = || Trouble::Passing(format!("not answered within {} s", patience.as_secs()));
        let answer = async {
            // The other side may have closed it meanwhile, which says nothing.
            if let Some(line) = self.kept()
                && let Ok(answered) = asked_over(line, asked.request(&self.file.bucket, &credentials).await?).await
            {
                return Ok(answered);
            }
            let line = self.connect(self.file.bucket.base_url().as_str()).await?;
            asked_over(line, asked.request(&self.file.bucket, &credentials).await?).await
        };
        let (response, line) = timeout(patience, answer).await.map_err(|_elapsed| silent())??;
        let answered = judged(response, wanted).await;
        if !matches!(answered, Err(Trouble::Passing(_))) {
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        answered
    }

    fn kept(&self) -> Option<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|it| !it.sender.is_closed());
        let ready = lines.iter().position(|it| it.sender.is_ready())?;
        Some(lines.swap_remove(ready))
    }

    async fn connect(&self, url: &str) -> Result<Line, Trouble> {
        let uri: Uri = url.parse().map_err(|error: InvalidUri| lasting(&error))?;
        let host = uri.host().unwrap_or_default();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let address = match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(ip) => Address::Socket(std::net::SocketAddr::new(ip, port)),
            Err(_not_an_address) => Address::Name { host: host.to_owned(), port },
        };
        let secured = if is_tls {
            let name = tls::server_name(host).map_err(|it| lasting(&it))?;
            let trust = self.inner.tls.get(&self.inner.gates, self.file.ca_file.as_deref(), Spoken::Http1).await;
            Some(Secured { config: trust.map_err(|it| lasting(&it))?.config, name })
        } else {
            None
        };
        let unused = SoFar::new(Answer::TimedOut);
        let opened = http::open(&self.inner.names, &address, secured, Instant::now() + REQUEST, &unused).await;
        let connection =
            opened.map_err(|answer| Trouble::Passing(answer.detail().unwrap_or("no connection in time").to_owned()))?;
        match connection {
            Connection::Plain(stream) => line(TokioIo::new(stream)).await,
            Connection::Tls(stream) => line(TokioIo::new(*stream)).await,
        }
    }

    /// The file's keys, or the environment's, or those of the machine's role.
    async fn credentials(&self) -> Result<Credentials, Trouble> {
        if let Some(credentials) = self.file.credentials.clone().or_else(Credentials::from_env) {
            return Ok(credentials);
        }
        let mut keys = self.keys.lock().await;
        if let Some((credentials, _)) = keys.as_ref().filter(|it| it.1.elapsed() < KEYS_LAST) {
            return Ok(credentials.clone());
        }
        let credentials = self.keys_of_role().await?;
        *keys = Some((credentials.clone(), Instant::now()));
        Ok(credentials)
    }

    /// Asks the metadata service in its second version: a token first.
    async fn keys_of_role(&self) -> Result<Credentials, Trouble> {
        let none = |why: &str| {
            Trouble::Lasting(format!(
                "no keys: none in the bucket's file or the environment, and of the machine: {why}"
            ))
        };
        let text = match self.described_role().await {
            Ok(text) => text,
            Err(Trouble::Passing(why) | Trouble::Lasting(why)) => return Err(none(&why)),
            Err(Trouble::Taken | Trouble::Missing) => return Err(none("it has no role")),
        };
        let keys = Ec2SecurityCredentialsMetadataResponse::deserialize(&text);
        let keys = keys.map_err(|_hides_keys| none("what the metadata service answers can't be read"))?;
        Ok(keys.into_credentials())
    }

    async fn described_role(&self) -> Result<String, Trouble> {
        let roles = "/latest/meta-data/iam/security-credentials/";
        let lasts = ("X-aws-ec2-metadata-token-ttl-seconds", "300");
        let token = self.metadata(Method::PUT, "/latest/api/token", lasts).await?;
        let token = ("X-aws-ec2-metadata-token", token.as_str());
        let role = self.metadata(Method::GET, roles, token).await?;
        self.metadata(Method::GET, &format!("{roles}{}", role.lines().next().unwrap_or_default()), token).await
    }

    async fn metadata(&self, method: Method, path: &str, (name, value): (&str, &str)) -> Result<String, Trouble> {
        let at = env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|_| METADATA.to_owned());
        let uri = format!("{}{path}", at.trim_end_matches('/'));
        let request = Request::builder().method(method).uri(&uri).header(name, value).body(full(Bytes::new()));
        let request = request.map_err(|error| lasting(&error))?;
        let answer = async { asked_over(self.connect(&uri).await?, request).await };
        let (response, _line) = timeout(METADATA_ANSWERS, answer)
            .await
            .map_err(|_elapsed| lasting(&"the metadata service does not answer"))??;
        judged(response, Wanted::Text).await
    }
}

/// Asks over a line.
async fn asked_over(mut line: Line, mut request: Request<Body>) -> Result<(Response<Incoming>, Line), Trouble> {
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or_else(|| lasting(&"the URL names no host"))?;
    let host = header::HeaderValue::from_str(authority.as_str()).map_err(|error| lasting(&error))?;
    request.headers_mut().insert(header::HOST, host);
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    *request.uri_mut() = path.parse().map_err(|error: InvalidUri| lasting(&error))?;
    let response = line.sender.send_request(request).await.map_err(|error| Trouble::Passing(why(&error)))?;
    Ok((response, line))
}

async fn line(stream: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) -> Result<Line, Trouble> {
    let (sender, connection) = http::http1().handshake(stream).await.map_err(|error| Trouble::Passing(why(&error)))?;
    let carrier = tokio::spawn(async move { drop(connection.await) }).abort_handle();
    Ok(Line { sender, carrier })
}

/// What a response says, once all of it is here. It may not drip for ever.
async fn judged(response: Response<Incoming>, wanted: Wanted<'_>) -> Result<String, Trouble> {
    let length = response.body().size_hint().exact().unwrap_or(MAX_OBJECT).min(MAX_OBJECT);
    let patience = REQUEST + Duration::from_secs(length / SLOWEST);
    let slow = |_| Trouble::Passing(format!("not all of it came within {} s", patience.as_secs()));
    timeout(patience, judged_whole(response, wanted)).await.map_err(slow)?
}

async fn judged_whole(response: Response<Incoming>, wanted: Wanted<'_>) -> Result<String, Trouble> {
    let status = response.status();
    let expected = response.headers().get(CHECKSUM).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let mut body = response.into_body();
    let mut digest = Sha256::new();
    let mut text = Vec::new();
    match wanted {
        Wanted::File(to) if status.is_success() => received(&mut body, to, &mut digest).await?,
        Wanted::Digest if status.is_success() => {
            while let Some(data) = next(&mut body).await? {
                digest.update(&data);
            }
        }
        Wanted::Text | Wanted::File(_) | Wanted::Digest => {
            while let Some(data) = next(&mut body).await? {
                if text.len() + data.len() > MAX_TEXT {
                    return Err(Trouble::Lasting(format!("it answers with more than {MAX_TEXT} bytes")));
                }
                digest.update(&data);
                text.extend_from_slice(&data);
            }
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    if status.is_success() {
        let came = BASE64_STANDARD.encode(digest.finalize());
        // One of parts is of those, and says by `-` of how many.
        return match expected.filter(|it| !it.contains('-')) {
            Some(put) if put != came => Err(Trouble::Passing("what came is not what was put".to_owned())),
            Some(_) | None if matches!(wanted, Wanted::Digest) => Ok(came),
            Some(_) | None => Ok(text),
        };
    }
    let (code, message) = (between(&text, "Code"), between(&text, "Message"));
    let why = match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => format!("answered with status {status}"),
    };
    Err(match status {
        // Anything else that is not found is a place where nothing was looked for.
        StatusCode::NOT_FOUND if code == Some("NoSuchKey") => Trouble::Missing,
        StatusCode::PRECONDITION_FAILED => Trouble::Taken,
        // Two at once under one key: one of them is told so.
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Trouble::Passing(why),
        it if it.is_server_error() => Trouble::Passing(why),
        _ => Trouble::Lasting(why),
    })
}

async fn received(body: &mut Incoming, to: &Path, digest: &mut Sha256) -> Result<(), Trouble> {
    let written = |error: &io::Error| Trouble::Lasting(of(to, error));
    let mut file = made(to).await.map_err(|error| written(&error))?;
    while let Some(data) = next(body).await? {
        digest.update(&data);
        file.write_all(&data).await.map_err(|error| written(&error))?;
    }
    file.flush().await.map_err(|error| written(&error))
}

/// A file for what comes, in place of what is there, which nobody else may read. A symbolic link is refused.
async fn made(to: &Path) -> io::Result<File> {
    let mut how = File::options();
    how.write(true).create(true).truncate(true).mode(0o600).custom_flags(NO_LINK).open(to).await
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Trouble> {
    loop {
        let frame = timeout(REQUEST, body.frame()).await;
        match frame.map_err(|_elapsed| Trouble::Passing("it stopped in the middle of its answer".to_owned()))? {
            None => return Ok(None),
            Some(Err(error)) => return Err(Trouble::Passing(why(&error))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The text of an element that stands once in an answer.
fn between<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    let after = text.split_once(&format!("<{tag}>"))?.1;
    Some(after.split_once("</")?.0)
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

async fn streamed(path: &Path) -> io::Result<Body> {
    let file = File::open(path).await?;
    let stream = StreamBody::new(stream::try_unfold(file, async |mut file| {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        piece.truncate(length);
        Ok::<_, io::Error>((length > 0).then(|| (Frame::data(Bytes::from(piece)), file)))
    }));
    Ok(stream.boxed_unsync())
}

/// How long a file is, and its SHA-256 as S3 wants it.
async fn digest(path: &Path) -> io::Result<(u64, String)> {
    let path: PathBuf = path.to_owned();
    let digest = move || {
        let (mut file, mut digest) = (std::fs::File::open(path)?, Sha256::new());
        let (mut piece, mut length) = (vec![0; PIECE], 0);
        loop {
            match io::Read::read(&mut file, &mut piece)? {
                0 => return Ok((length, BASE64_STANDARD.encode(digest.finalize()))),
                read => {
                    digest.update(&piece[..read]);
                    length += read as u64;
                }
            }
        }
    };
    tokio::task::spawn_blocking(digest).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

fn of(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), trouble::describe(error))
}

fn why(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[tokio::test]
    async fn what_comes_is_for_nobody_else_from_the_beginning() {
        let dir = tempfile::tempdir().expect("a folder");
        let (to, link) = (dir.path().join("1"), dir.path().join("link"));
        let mut file = made(&to).await.expect("made");
        assert_eq!(fs::metadata(&to).expect("there").permissions().mode() & 0o777, 0o600);
        file.write_all(b"some").await.expect("written");
        file.flush().await.expect("written");
        made(&to).await.expect("it is tried again");
        assert_eq!(fs::read(&to).expect("there"), b"", "from the beginning");
        symlink(&to, &link).expect("made");
        assert!(made(&link).await.is_err());
    }
}
