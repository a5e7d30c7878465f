//! A connection whose client stops reading: what the server sends stays in the socket.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::Result;

/// Windows so large that only the socket holds the server back.
const WINDOW: u32 = (1 << 31) - 1;

/// Whether a connection is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    shut: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    /// From now on nothing is read.
    pub(crate) fn shut(&self) {
        self.0.shut.store(true, Ordering::SeqCst);
    }

    /// Reads on.
    pub(crate) fn open(&self) {
        self.0.shut.store(false, Ordering::SeqCst);
        if let Some(waker) = self.waiting().take() {
            waker.wake();
        }
    }

    /// Opens a connection that is read only while the gate is open, and whose client lets the server say anything
    /// meanwhile.
    pub(crate) async fn connect(&self, url: &str) -> Result<Channel> {
        self.connect_with(url, WINDOW).await
    }

    /// The same with another window.
    pub(crate) async fn connect_with(&self, url: &str, window: u32) -> Result<Channel> {
        let gate = self.clone();
        let dial = service_fn(move |uri: Uri| {
            let gate = gate.clone();
            async move {
                let address = uri.authority().map(ToString::to_string).unwrap_or_default();
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                Ok::<_, io::Error>(TokioIo::new(Gated { socket, gate }))
            }
        });
        let endpoint = Endpoint::from_shared(url.to_owned())?
            .initial_stream_window_size(window)
            .initial_connection_window_size(window);
        Ok(endpoint.connect_with_connector(dial).await?)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Gated {
    socket: TcpStream,
    gate: Gate,
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Before looking, so that an opening in between is not missed.
        *self.gate.waiting() = Some(cx.waker().clone());
        if self.gate.0.shut.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gated {
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
