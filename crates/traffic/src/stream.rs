//! Connections of clients and to targets: by TCP, or by a UNIX socket on the same machine.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use rustix::net::sockopt::set_socket_keepalive;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, tcp, unix};
use tokio::sync::OwnedSemaphorePermit;

use crate::live::Live;

/// Where clients of a proxy come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Entrance {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entrance::Tcp(address) => address.fmt(f),
            Entrance::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What clients of a proxy connect to.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The next client, and from where it comes; `None`: from this machine.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(it) => it.accept().await.map(|(stream, peer)| (Stream::Tcp(stream), Some(peer))),
            Listener::Unix(it) => it.accept().await.map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }
}

/// Listens at `path`, for whoever may enter its folder. What a dead process has left there is replaced.
pub(crate) async fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::symlink_metadata(path) {
        Ok(it) if !it.file_type().is_socket() => return Err(io::Error::other("there is something that is no socket")),
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener.into_std()?.into())
}

/// One connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Whether the peer has closed its side, as far as that is known by now.
    pub(crate) fn has_ended(&self) -> bool {
        let mut now = Context::from_waker(Waker::noop());
        let ready = match self {
            Stream::Tcp(it) => pin!(it.ready(Interest::READABLE)).poll(&mut now),
            Stream::Unix(it) => pin!(it.ready(Interest::READABLE)).poll(&mut now),
        };
        matches!(ready, Poll::Ready(Ok(it)) if it.is_read_closed())
    }

    /// Closes it with a reset where there is such a thing: the peer learns at once, and bytes still queued are thrown away.
    pub(crate) fn reset(self) {
        match self {
            // A socket that has lost its peer refuses the option; closing it is then enough.
            Stream::Tcp(it) => drop(it.set_zero_linger()),
            Stream::Unix(_) => {}
        }
    }

    /// Small answers don't wait for the acknowledgement of the one before. A failure costs only time.
    pub(crate) fn hurry(&self) {
        if let Stream::Tcp(it) = self {
            let _ = it.set_nodelay(true);
        }
    }

    /// Finds out by itself when the peer has vanished. A failure costs a descriptor.
    pub(crate) fn keep_alive(&self) {
        if let Stream::Tcp(it) = self {
            let _ = set_socket_keepalive(it, true);
        }
    }

    /// The address that the client connected to, if it has one.
    pub(crate) fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Stream::Tcp(it) => it.local_addr().map(Some),
            Stream::Unix(_) => Ok(None),
        }
    }
}

impl Stream {
    /// Both directions, for two who work at a time.
    pub(crate) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Stream::Tcp(it) => {
                let (reader, writer) = it.split();
                (Reader::Tcp(reader), Writer::Tcp(writer))
            }
            Stream::Unix(it) => {
                let (reader, writer) = it.split();
                (Reader::Unix(reader), Writer::Unix(writer))
            }
        }
    }
}

/// What the peer says.
pub(crate) enum Reader<'a> {
    Tcp(tcp::ReadHalf<'a>),
    Unix(unix::ReadHalf<'a>),
}

impl Reader<'_> {
    /// Some of it; 0: it has ended.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Tcp(it) => it.read(buffer).await,
            Reader::Unix(it) => it.read(buffer).await,
        }
    }

    /// Moves some of it into the empty pipe; 0: it has ended.
    pub(crate) async fn splice_into(&self, pipe: &Pipe) -> io::Result<usize> {
        let Reader::Tcp(half) = self else { return Err(io::ErrorKind::InvalidInput.into()) };
        let stream = half.as_ref();
        loop {
            // Asked each time, for that is where a task yields that always has something to do.
            poll_fn(|cx| stream.poll_read_ready(cx)).await?;
            let moved = stream.try_io(Interest::READABLE, || {
                Ok(splice(stream, None, &pipe.into, None, PIPE_BYTES, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
            });
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return moved,
            }
        }
    }
}

/// What is said to the peer.
pub(crate) enum Writer<'a> {
    Tcp(tcp::WriteHalf<'a>),
    Unix(unix::WriteHalf<'a>),
}

impl Writer<'_> {
    /// Says all of it.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writer::Tcp(it) => it.write_all(bytes).await,
            Writer::Unix(it) => it.write_all(bytes).await,
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        match self {
            Writer::Tcp(it) => it.shutdown().await,
            Writer::Unix(it) => it.shutdown().await,
        }
    }

    /// Moves some of the `bytes` in the pipe to the peer.
    pub(crate) async fn splice_out_of(&self, pipe: &Pipe, bytes: usize) -> io::Result<usize> {
        let Writer::Tcp(half) = self else { return Err(io::ErrorKind::InvalidInput.into()) };
        let stream = half.as_ref();
        loop {
            poll_fn(|cx| stream.poll_write_ready(cx)).await?;
            let moved = stream.try_io(Interest::WRITABLE, || {
                Ok(splice(&pipe.out, None, stream, None, bytes, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
            });
            match moved {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return moved,
            }
        }
    }
}

/// What the kernel holds of a stream.
const PIPE_BYTES: usize = 64 << 10;

/// A pipe in the kernel, through which bytes pass that no process looks at (splice(2)).
pub(crate) struct Pipe {
    into: OwnedFd,
    out: OwnedFd,
    _place: OwnedSemaphorePermit,
}

impl Pipe {
    /// One between two streams; `None` where there can't be one, or none is left: they take descriptors of those that are reserved.
    pub(crate) fn between(from: &Reader<'_>, to: &Writer<'_>, live: &Live) -> Option<Pipe> {
        let (Reader::Tcp(_), Writer::Tcp(_)) = (from, to) else { return None };
        let place = live.pipe()?;
        let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        Some(Pipe { into, out, _place: place })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(it) => Pin::new(it).poll_read(cx, buf),
            Stream::Unix(it) => Pin::new(it).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(it) => Pin::new(it).poll_write(cx, buf),
            Stream::Unix(it) => Pin::new(it).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(it) => Pin::new(it).poll_flush(cx),
            Stream::Unix(it) => Pin::new(it).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(it) => Pin::new(it).poll_shutdown(cx),
            Stream::Unix(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}
