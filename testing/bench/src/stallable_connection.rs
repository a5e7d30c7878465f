//! A connection whose client can stop reading, so that everything stays in the socket.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::Result;

/// A window so large that only the socket blocks the server.
const WINDOW: u32 = (1 << 31) - 1;

/// A connection, and whether it is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct StallableConnection(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stalled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl StallableConnection {
    /// Stops reading.
    pub(crate) fn stall(&self) {
        self.0.stalled.store(true, Ordering::SeqCst);
    }

    /// Reads again.
    pub(crate) fn resume(&self) {
        self.0.stalled.store(false, Ordering::SeqCst);
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    /// Connects, with a window that does not limit the server.
    pub(crate) async fn connect(&self, url: &str) -> Result<Channel> {
        self.connect_with(url, WINDOW).await
    }

    /// Connects with this window.
    pub(crate) async fn connect_with(&self, url: &str, window: u32) -> Result<Channel> {
        let connection = self.clone();
        let dial = service_fn(move |uri: Uri| {
            let connection = connection.clone();
            async move {
                let address = uri.authority().map(ToString::to_string).unwrap_or_default();
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                Ok::<_, io::Error>(TokioIo::new(StallableSocket { socket, connection }))
            }
        });
        let endpoint = Endpoint::from_shared(url.to_owned())?
            .initial_stream_window_size(window)
            .initial_connection_window_size(window);
        Ok(endpoint.connect_with_connector(dial).await?)
    }

    fn waker(&self) -> parking_lot::MutexGuard<'_, Option<Waker>> {
        self.0.waker.lock()
    }
}

struct StallableSocket {
    socket: TcpStream,
    connection: StallableConnection,
}

impl AsyncRead for StallableSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Before the check, so that a resume in between is not missed.
        *self.connection.waker() = Some(cx.waker().clone());
        if self.connection.0.stalled.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for StallableSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
