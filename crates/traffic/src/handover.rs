//! A new process takes the listening sockets over from the one that runs, so that a restart refuses no client.
//!
//! The old process sends what it serves, its sockets, its control socket and its lock. The new one makes everything ready and
//! says so; then the old one stops to accept, and the new one begins: clients that come between wait in the sockets' queues.
//! From then on the old one only carries the connections that it has, for the drain time of their routes. It follows the new
//! one's tables, and the new one acknowledges no table before the old one has cut what the table cuts.
//!
//! At most one of them accepts clients, and one of them does whichever dies. The old one keeps the sockets for as long as it
//! lives: when the new one has died, it serves again. It must know that: one that is only silent before it has begun is ended
//! by force, and one that lives and has lost its word with the old one goes on alone, while the old one ends. In turn an old one
//! that does not follow is ended by force.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::routing::{RoutingTable, TrafficRequest};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::apply::{Applier, CUT_TIMEOUT};
use crate::listeners::Front;
use crate::live::{Live, Served};

/// Of what is said here. Two processes of different formats do not hand over to each other.
pub(crate) const FORMAT: u32 = 1;
/// For each thing that one of them waits for until the new one serves.
pub(crate) const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// For clients of DNS over TCP and beacons to end after the hand-over.
const SMALL_CLIENTS_TIMEOUT: Duration = Duration::from_secs(15);
/// How late the old process may hear that the agent has said something.
const WORD_INTERVAL: Duration = Duration::from_millis(100);
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The kernel takes 253 in one message.
const SOCKETS_A_MESSAGE: usize = 200;
/// A table and its checksum, with room.
const LINE_MAX_BYTES: usize = 16 << 20;
const READ_BYTES: usize = 64 << 10;

/// What the old process says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OldSays {
    /// What there is to take over; with the lock, the control socket, and each front's sockets in order.
    Offer(Box<Estate>),
    /// Nothing is handed over; it goes on.
    Refused { reason: String },
    /// It accepts nobody any more.
    Retired {},
    /// It has no sockets but those that it was told to keep.
    Kept {},
    /// It has cut what the table of this epoch cuts.
    Followed { epoch: u64 },
}

/// What the new process says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NewSays {
    /// It is ready to serve.
    Taken {},
    /// It serves.
    Serving {},
    /// The agent spoke last at this time of the machine's clock.
    Word { at_ms: u64 },
    /// Another table is served now.
    Serve { at_ms: u64, table: Box<RoutingTable> },
    /// The sockets of other fronts are not wanted back.
    Keep { fronts: BTreeSet<Front> },
    /// It was told to end, and so is the old one.
    End {},
}

/// What a process serves, apart from its sockets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Estate {
    pub(crate) table: RoutingTable,
    pub(crate) age_ms: u64,
    pub(crate) is_fallback: bool,
    pub(crate) is_saved: bool,
    /// When the agent spoke last, by the machine's clock.
    pub(crate) word_at_ms: u64,
    pub(crate) fronts: Vec<Front>,
}

/// One end of the conversation: lines of JSON, and sockets.
pub(crate) struct Wire {
    stream: UnixStream,
    unread: Vec<u8>,
    sockets: VecDeque<OwnedFd>,
}

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> Wire {
        Wire { stream, unread: Vec::new(), sockets: VecDeque::new() }
    }

    /// Says something, with sockets. A reader that knows nothing of sockets reads a line with blanks before it.
    pub(crate) async fn say(&mut self, what: &impl Serialize, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let said = async {
            for some in sockets.chunks(SOCKETS_A_MESSAGE) {
                self.stream.async_io(Interest::WRITABLE, || send(&self.stream, some)).await?;
            }
            self.stream.write_all(&line).await
        };
        timeout(STEP_TIMEOUT, said).await?
    }

    /// What the other says next. Nothing is lost when it is given up.
    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.unread[searched..].iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=searched + at).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            searched = self.unread.len();
            if searched > LINE_MAX_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
            }
            let (bytes, sockets) = self.stream.async_io(Interest::READABLE, || receive(&self.stream)).await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend(bytes);
            self.sockets.extend(sockets);
        }
    }

    /// A socket that came with what was said.
    fn socket(&mut self) -> io::Result<OwnedFd> {
        self.sockets.pop_front().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a socket is missing"))
    }
}

fn send(stream: &UnixStream, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_A_MESSAGE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = control.push(SendAncillaryMessage::ScmRights(sockets));
    debug_assert!(fits, "the space is made for as many");
    sendmsg(stream, &[IoSlice::new(b" ")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_A_MESSAGE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; READ_BYTES];
    let said = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            sockets.extend(some);
        }
    }
    if said.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("not all sockets could be received: too many files are open"));
    }
    bytes.truncate(said.bytes);
    Ok((bytes, sockets))
}

/// The process at the other end. It is known by a descriptor: its number may be another's when it has ended.
enum Other {
    Process(OwnedFd),
    /// Of this very process.
    Within,
    Gone,
}

impl Other {
    /// Asked before anything else is said: until then the process is there, and its number is its own.
    fn of(stream: &UnixStream) -> io::Result<Other> {
        let pid = stream.peer_cred()?.pid().filter(|it| u32::try_from(*it) != Ok(std::process::id()));
        let Some(pid) = pid.and_then(Pid::from_raw) else { return Ok(Other::Within) };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(process) => Ok(Other::Process(process)),
            Err(Errno::SRCH) => Ok(Other::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it has ended. Its sockets are closed then, and not when its last word has come. What is no process of its own
    /// has when nothing more is heard of it, and this is asked after that.
    fn is_gone(&self) -> bool {
        let Other::Process(process) = self else { return true };
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        poll(&mut ended, Some(&Timespec::default())).is_ok_and(|it| it > 0)
    }

    async fn has_ended(&self) -> bool {
        let ended = async {
            while !self.is_gone() {
                sleep(LOOK_INTERVAL).await;
            }
        };
        timeout(CUT_TIMEOUT, ended).await.is_ok()
    }

    async fn is_ended_by_force(&self) -> bool {
        if let Other::Process(process) = self {
            // One that has ended already refuses it.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        self.has_ended().await
    }
}

/// Everything that a new process begins with.
pub(crate) struct Inherited {
    wire: Wire,
    old: Other,
    pub(crate) estate: Estate,
    pub(crate) lock: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) sockets: Sockets,
}

/// Each front's, in its order.
type Sockets = Vec<(Front, Vec<OwnedFd>)>;

impl Inherited {
    /// Asks the process behind the control socket. `None`: nobody is there, or any more.
    ///
    /// # Errors
    ///
    /// It does not hand over; then it goes on.
    pub(crate) async fn ask(socket: &Path) -> io::Result<Option<Inherited>> {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
        let stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset) => return Ok(None),
            Err(error) => return Err(error),
        };
        let old = Other::of(&stream)?;
        let mut wire = Wire::new(stream);
        match Inherited::hear(&mut wire).await {
            Ok((estate, lock, control, sockets)) => Ok(Some(Inherited { wire, old, estate, lock, control, sockets })),
            Err(error) if breaks_off(&error) && old.has_ended().await => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn hear(wire: &mut Wire) -> io::Result<(Estate, OwnedFd, OwnedFd, Sockets)> {
        wire.say(&TrafficRequest::HandOver { format: FORMAT }, &[]).await?;
        let estate = match timeout(STEP_TIMEOUT, wire.hear()).await?? {
            OldSays::Offer(estate) => *estate,
            OldSays::Refused { reason } => return Err(io::Error::other(reason)),
            OldSays::Retired {} | OldSays::Kept {} | OldSays::Followed { .. } => return Err(out_of_order()),
        };
        let (lock, control) = (wire.socket()?, wire.socket()?);
        let mut sockets = Vec::new();
        for front in &estate.fronts {
            let some = (0..front.sockets()).map(|_| wire.socket()).collect::<io::Result<Vec<_>>>()?;
            sockets.push((front.clone(), some));
        }
        Ok((estate, lock, control, sockets))
    }

    /// Says that this process is ready, waits until the old one accepts nobody any more, and promises to serve.
    ///
    /// # Errors
    ///
    /// The old one goes on.
    pub(crate) async fn begin(mut self, live: &Arc<Live>) -> io::Result<Predecessor> {
        if let Err(error) = self.take_over().await
            && !(breaks_off(&error) && self.old.has_ended().await)
        {
            return Err(error);
        }
        let wire = Arc::new(Mutex::new(self.wire));
        let words = tokio::spawn(pass_words_on(Arc::clone(live), Arc::clone(&wire)));
        Ok(Predecessor { wire, process: self.old, words })
    }

    async fn take_over(&mut self) -> io::Result<()> {
        self.wire.say(&NewSays::Taken {}, &[]).await?;
        match timeout(STEP_TIMEOUT, self.wire.hear()).await?? {
            OldSays::Retired {} => {}
            OldSays::Offer(_) | OldSays::Refused { .. } | OldSays::Kept {} | OldSays::Followed { .. } => {
                return Err(out_of_order());
            }
        }
        self.wire.say(&NewSays::Serving {}, &[]).await
    }
}

/// Whether the other process is done with this one.
fn breaks_off(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// What a new process keeps of the old one.
pub(crate) struct Predecessor {
    wire: Arc<Mutex<Wire>>,
    process: Other,
    words: JoinHandle<()>,
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        self.words.abort();
    }
}

/// The old process cuts its routes for silence as this one does.
async fn pass_words_on(live: Arc<Live>, wire: Arc<Mutex<Wire>>) {
    let mut told = 0;
    loop {
        let at_ms = live.word_at_ms();
        if at_ms != told {
            if wire.lock().await.say(&NewSays::Word { at_ms }, &[]).await.is_err() {
                return;
            }
            told = at_ms;
        }
        sleep(WORD_INTERVAL).await;
    }
}

impl Predecessor {
    /// Waits until the old process has cut what the table cuts. `true`: it still carries connections; `false`: it has ended,
    /// by force where it does not follow.
    ///
    /// # Errors
    ///
    /// Why neither is so.
    pub(crate) async fn follows(&self, table: &RoutingTable, at_ms: u64) -> Result<bool, String> {
        let followed = async {
            let mut wire = self.wire.lock().await;
            wire.say(&NewSays::Serve { at_ms, table: Box::new(table.clone()) }, &[]).await?;
            loop {
                match wire.hear().await? {
                    OldSays::Followed { epoch } if epoch == table.epoch => return io::Result::Ok(()),
                    // For which nobody waited any more.
                    OldSays::Followed { .. } | OldSays::Kept {} => {}
                    OldSays::Offer(_) | OldSays::Refused { .. } | OldSays::Retired {} => return Err(out_of_order()),
                }
            }
        };
        let ended = match timeout(2 * CUT_TIMEOUT, followed).await {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(_)) => self.process.has_ended().await,
            Err(_) => false,
        };
        // One that hangs would keep every fence from being acknowledged.
        if ended || self.process.is_ended_by_force().await {
            return Ok(false);
        }
        Err("the traffic process before this one neither cuts its connections nor ends".to_owned())
    }

    /// Lets the old process close the sockets of all other fronts, so that their ports are free.
    pub(crate) async fn keeps(&self, fronts: &BTreeSet<Front>) {
        let kept = async {
            let mut wire = self.wire.lock().await;
            wire.say(&NewSays::Keep { fronts: fronts.clone() }, &[]).await?;
            while !matches!(wire.hear().await?, OldSays::Kept {}) {}
            io::Result::Ok(())
        };
        // A port that is not free is found out when it is bound.
        let _ = timeout(CUT_TIMEOUT, kept).await;
    }

    /// Lets the old process end with this one.
    pub(crate) async fn end(&self) {
        let said = async { self.wire.lock().await.say(&NewSays::End {}, &[]).await };
        let _ = timeout(CUT_TIMEOUT, said).await;
        self.process.has_ended().await;
    }

    /// Whether it still carries connections.
    pub(crate) fn is_there(&self) -> bool {
        match self.process {
            Other::Process(_) => !self.process.is_gone(),
            Other::Within => !self.words.is_finished(),
            Other::Gone => false,
        }
    }
}

/// The process that takes over from this one.
pub(crate) struct Heir {
    wire: Wire,
    process: Other,
}

/// Why a process that has handed over is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parted {
    /// Every connection has ended, or the new process serves alone.
    Done,
    /// The new process was told to end.
    ToldToEnd,
    /// The new process is dead: nobody serves.
    Bereft,
}

impl Heir {
    /// Hands over. The new process is ready when it returns, and this one still serves.
    ///
    /// # Errors
    ///
    /// The new process is not ready, and will not be.
    pub(crate) async fn offer(stream: UnixStream, estate: Estate, sockets: &[BorrowedFd<'_>]) -> io::Result<Heir> {
        let process = Other::of(&stream)?;
        let mut wire = Wire::new(stream);
        wire.say(&OldSays::Offer(Box::new(estate)), sockets).await?;
        match timeout(STEP_TIMEOUT, wire.hear()).await?? {
            NewSays::Taken {} => Ok(Heir { wire, process }),
            NewSays::Serving {}
            | NewSays::Word { .. }
            | NewSays::Serve { .. }
            | NewSays::Keep { .. }
            | NewSays::End {} => Err(out_of_order()),
        }
    }

    /// Says why nothing is handed over.
    pub(crate) async fn refuse(stream: UnixStream, reason: String) -> io::Result<()> {
        Wire::new(stream).say(&OldSays::Refused { reason }, &[]).await
    }

    /// Carries what this process has, which accepts nobody any more, until that has ended or the new one is lost.
    pub(crate) async fn follow(
        mut self,
        live: &Arc<Live>,
        applier: &Mutex<Applier>,
        small: Vec<JoinHandle<()>>,
    ) -> Parted {
        if let Err(error) = self.begins().await {
            warn!(%error, "the new process does not begin");
            return if self.process.is_ended_by_force().await { Parted::Bereft } else { Parted::Done };
        }
        info!("another process has taken over");
        let small_gone = async {
            for one in small {
                let _ = one.await;
            }
        };
        let gone = async {
            let _ = timeout(SMALL_CLIENTS_TIMEOUT, small_gone).await;
            while !live.is_empty() {
                sleep(LOOK_INTERVAL).await;
            }
        };
        let lost = tokio::select! {
            () = gone => {
                info!("every connection has ended");
                return Parted::Done;
            }
            ended = self.obey(live, applier) => ended,
            () = live.watch_silence() => return Parted::Done,
        };
        let Err(error) = lost else { return Parted::ToldToEnd };
        warn!(%error, "the new process is lost");
        if self.process.has_ended().await { Parted::Bereft } else { Parted::Done }
    }

    async fn begins(&mut self) -> io::Result<()> {
        self.wire.say(&OldSays::Retired {}, &[]).await?;
        match timeout(STEP_TIMEOUT, self.wire.hear()).await?? {
            NewSays::Serving {} => Ok(()),
            NewSays::Taken {}
            | NewSays::Word { .. }
            | NewSays::Serve { .. }
            | NewSays::Keep { .. }
            | NewSays::End {} => Err(out_of_order()),
        }
    }

    /// Does what the new process says, until that is to end.
    async fn obey(&mut self, live: &Arc<Live>, applier: &Mutex<Applier>) -> io::Result<()> {
        loop {
            match self.wire.hear().await? {
                NewSays::Word { at_ms } => live.heard_at(at_ms),
                NewSays::Serve { at_ms, table } => {
                    live.heard_at(at_ms);
                    self.serve(live, *table).await?;
                }
                NewSays::Keep { fronts } => {
                    applier.lock().await.keep(&fronts);
                    self.wire.say(&OldSays::Kept {}, &[]).await?;
                }
                NewSays::End {} => return Ok(()),
                NewSays::Taken {} | NewSays::Serving {} => return Err(out_of_order()),
            }
        }
    }

    async fn serve(&mut self, live: &Live, table: RoutingTable) -> io::Result<()> {
        let epoch = table.epoch;
        let next = Served::new(table, Some(&live.served())).map_err(io::Error::other)?;
        live.swap(next);
        if !live.cuts_done(CUT_TIMEOUT).await {
            return Err(io::Error::other("connections that have to be cut are not closed"));
        }
        self.wire.say(&OldSays::Followed { epoch }, &[]).await
    }
}

/// How to start a process that takes over.
#[derive(Clone, Debug)]
pub struct Successor {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<std::ffi::OsString>,
}

impl Successor {
    /// Starts it, apart from this process.
    pub(crate) fn start(&self) -> io::Result<u32> {
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.args)
            .stdin(std::process::Stdio::null())
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        tokio::spawn(async move { child.wait().await });
        Ok(pid)
    }
}

fn out_of_order() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the other process says something that is no answer")
}
