//! The servers as processes: started on free ports, pinned, looked at through `/proc`, ended.
//!
//! Linux only, as `/proc` and pinning are. Whoever kills the benchmark leaves the servers behind,
//! and their temporary folders.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// A server must take connections by then.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// A server that may end in order must have done so by then.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// Memory is looked at when a server has been left alone for so long.
const SETTLE: Duration = Duration::from_millis(300);

/// Where server and load generator run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// The server on the first core alone, the load on the second.
    Apart,
    /// Both wherever the system puts them.
    Free,
}

/// A server that was started here, and ends with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    ending: Signal,
}

impl Process {
    /// Starts a server, and returns once it takes connections.
    ///
    /// # Errors
    /// Where it cannot be started, or does not listen in time.
    pub fn start(command: &mut Command, address: SocketAddr, placement: Placement) -> Result<Self> {
        Self::start_ended_by(Signal::KILL, command, address, placement)
    }

    /// As [`Process::start`], for a server that would leave children or shared memory behind if it
    /// were killed: it is ended by `ending`, and killed only if it does not heed that.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_ended_by(
        ending: Signal,
        command: &mut Command,
        address: SocketAddr,
        placement: Placement,
    ) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A child inherits where its parent may run.
        run_on(placement, 0)?;
        let child = command.spawn().with_context(|| format!("cannot start {name}"));
        run_on(placement, 1)?;
        let mut process = Process { child: child?, address, ending };
        let started_at = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{name} ended at its start: {status}");
            }
            if started_at.elapsed() > READY_WITHIN {
                bail!("{name} does not listen on {address} after {READY_WITHIN:?}");
            }
            sleep(Duration::from_micros(50));
        }
        Ok(process)
    }

    /// CPU time of the process and of those that it has started, over all their threads that run.
    ///
    /// The kernel's ticks of 10 ms would be too coarse: of a thousand processes, each may have
    /// worked for less than that.
    ///
    /// # Errors
    /// Where the process has ended; where the system does not count.
    pub fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for pid in self.with_children()? {
            // What ends while we look is left out.
            let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for thread in threads {
                let times = fs::read_to_string(thread.path().join("schedstat"));
                let times = times.unwrap_or_default();
                let on_cpu = times.split_whitespace().next().and_then(|time| time.parse().ok());
                nanoseconds += on_cpu.unwrap_or(0);
            }
        }
        ensure!(nanoseconds > 0, "no CPU times: is there no `schedstat` in /proc?");
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// [`Process::resident`], once the server has been left alone for a while.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn settled_memory(&self) -> Result<u64> {
        sleep(SETTLE);
        self.resident()
    }

    /// Resident memory in bytes, of the process alone.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn resident(&self) -> Result<u64> {
        Ok(self.status("VmRSS")? * 1024)
    }

    /// A number that the system tells of the process, in its own unit: kibibytes for memory.
    ///
    /// # Errors
    /// Where the process has ended, or the system does not tell.
    pub fn status(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = |line| str::strip_prefix(line, field)?.strip_prefix(':');
        let value = status.lines().find_map(value);
        let value = value.with_context(|| format!("no {field}: has the server ended?"))?;
        Ok(value.trim().trim_end_matches(" kB").parse()?)
    }

    /// How many files it has open, connections among them.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Its number, for signals.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn with_children(&self) -> Result<Vec<u32>> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        Ok([pid].into_iter().chain(children).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already. There is nothing to be kept, so most need not end in order.
        // Once it was waited for, its number may be that of another.
        if self.ending != Signal::KILL && matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), self.ending);
            let asked_at = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked_at.elapsed() < ENDED_WITHIN {
                sleep(Duration::from_millis(1));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The cores on which this program may run, as it was started.
fn cores() -> &'static [usize] {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
    })
}

/// Lets this thread, and what it starts, run on the core of that position, or anywhere.
///
/// # Errors
/// Where the system refuses.
pub fn run_on(placement: Placement, position: usize) -> Result<()> {
    let cores = cores();
    let mut set = CpuSet::new();
    for (at, core) in cores.iter().enumerate() {
        if placement == Placement::Free || at == position % cores.len() {
            set.set(*core);
        }
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Whether this thread has a core that no server has.
///
/// # Errors
/// Where the system does not tell.
pub fn has_own_core() -> Result<bool> {
    Ok(cores().len() > 1 && sched_getaffinity(None)?.count() == 1)
}

/// An address on which nobody listens.
///
/// # Errors
/// Where there is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
