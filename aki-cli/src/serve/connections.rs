//! Connections: how many there may be, and how long one may keep its place without a request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// A listener that accepts no more than so many connections at a time; others wait with the system.
pub struct Limited {
    listener: TcpListener,
    room: Arc<Semaphore>,
    patience: Duration,
}

impl Limited {
    /// A listener that closes connections on which, for `patience`, no request's head comes whole, or nothing
    /// can be written.
    pub fn new(listener: TcpListener, connections: usize, patience: Duration) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(connections)),
            patience,
        }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.room.clone().acquire_owned().await;
        let (stream, addr) = Listener::accept(&mut self.listener).await;
        // Tokens go out one by one.
        stream.set_nodelay(true).ok();
        let connection = Connection {
            stream,
            _place: place.ok(),
            usage: Usage::default(),
            patience: self.patience,
            reading: Box::pin(sleep_until(Instant::now() + self.patience)),
            writing: None,
        };
        (connection, addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether a request is being answered on a connection, or since when none is.
#[derive(Clone, Debug, Default)]
pub struct Usage(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    requests: usize,
    idle_since: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self {
            requests: 0,
            idle_since: Instant::now(),
        }
    }
}

impl Usage {
    /// A request has come; it is answered when what is given is dropped.
    pub fn begin(&self) -> InUse {
        self.with(|state| state.requests += 1);
        InUse(self.clone())
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Since when there is no request; none while there is one.
    fn idle_since(&self) -> Option<Instant> {
        self.with(|state| (state.requests == 0).then_some(state.idle_since))
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct InUse(Usage);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.requests -= 1;
            state.idle_since = Instant::now();
        });
    }
}

impl Connected<IncomingStream<'_, Limited>> for Usage {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Self {
        stream.io().usage.clone()
    }
}

/// A connection that is closed when its client takes too long.
pub struct Connection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
    usage: Usage,
    patience: Duration,
    /// When a request's head must have come.
    reading: Pin<Box<Sleep>>,
    /// When something must have been written; none while writing goes on.
    writing: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        // How long a body may take is its reader's business.
        let Some(idle_since) = this.usage.idle_since() else {
            return Poll::Pending;
        };
        let end = idle_since + this.patience;
        if this.reading.deadline() != end {
            this.reading.as_mut().reset(end);
        }
        this.reading
            .as_mut()
            .poll(context)
            .map(|()| Err(timed_out()))
    }
}

impl Connection {
    /// What came of trying to write, or that it takes too long.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let end = Instant::now() + self.patience;
        let writing = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep_until(end)));
        writing.as_mut().poll(context).map(|()| Err(timed_out()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}
