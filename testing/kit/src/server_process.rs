//! The server's program as a child process.

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::poll::poll_until;

/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The program as a command that ends with the caller and gets none of the caller's `SIGNALBOX_` settings.
#[must_use]
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SIGNALBOX_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A server that is starting or running. Dropping it kills it.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    ready_file: PathBuf,
}

impl ServerProcess {
    /// Starts a server that writes its address to `ready_file`.
    pub fn spawn(mut command: Command, ready_file: &Path) -> io::Result<Self> {
        // Of a process before this one.
        match fs::remove_file(ready_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let child = command.arg("--ready-file").arg(ready_file).spawn().map_err(|error| {
            let program = Path::new(command.as_std().get_program()).display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        Ok(Self { child, ready_file: ready_file.to_owned() })
    }

    /// Waits until the server listens, and returns an address at which it can be reached from this machine.
    pub async fn listening(&mut self) -> io::Result<SocketAddr> {
        let probe = || {
            if let Ok(text) = fs::read_to_string(&self.ready_file) {
                let addr = text.trim().parse().map_err(|_| io::Error::other("the ready file holds no address"));
                return Some(addr);
            }
            let ended = self.child.try_wait().transpose()?;
            Some(Err(io::Error::other(match ended {
                Ok(status) => format!("the server ended before it was listening: {status}"),
                Err(error) => error.to_string(),
            })))
        };
        let listening = poll_until(START_TIMEOUT, probe).await;
        let mut addr: SocketAddr =
            listening.unwrap_or_else(|| Err(io::Error::other("the server is not listening after 20 s")))?;
        if addr.ip().is_unspecified() {
            addr.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Ok(addr)
    }

    /// Its standard output and error, where they are piped.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub fn pid(&self) -> io::Result<Pid> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        pid.ok_or_else(|| io::Error::other("the server has ended"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Waits until it has ended.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}
