//! Memory and CPU time of a process, as Linux reports them in `/proc`.

use std::{fs, io, time::Duration};

use rustix::process::Pid;

/// Clock ticks in `/proc`, whatever the kernel's own are.
const TICKS_PER_SECOND: u64 = 100;

/// Resident memory, in KiB.
pub fn resident_kib(pid: Pid) -> io::Result<u64> {
    status(pid, "VmRSS:")
}

/// The highest resident memory since the start or the last `reset_peak`, in KiB.
pub fn peak_resident_kib(pid: Pid) -> io::Result<u64> {
    status(pid, "VmHWM:")
}

/// Starts the measurement of the peak again.
pub fn reset_peak(pid: Pid) -> io::Result<()> {
    fs::write(format!("/proc/{}/clear_refs", pid.as_raw_nonzero()), "5")
}

/// CPU time that the process has used on all cores, in user and system mode.
pub fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let stat = read(pid, "stat")?;
    let malformed = || io::Error::other("/proc/PID/stat has another form");
    // The name of the program, in brackets, may hold anything. utime and stime are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(malformed)?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>().map_err(|_| malformed())?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn status(pid: Pid, field: &str) -> io::Result<u64> {
    let status = read(pid, "status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| io::Error::other(format!("/proc/PID/status has no {field}")))
}

fn read(pid: Pid, file: &str) -> io::Result<String> {
    let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
    fs::read_to_string(&path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}
