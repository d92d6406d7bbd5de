//! The project's binaries as child processes, which end with their parent.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

use crate::wait::eventually;

/// The maximum number of sockets that [`Process::start_with_sockets`] can pass.
pub const MAX_SOCKETS: usize = 3;
/// A shell script that moves the three standard streams to the descriptors of systemd's sockets, and becomes the
/// program.
const LISTEN: &str =
    "exec 3<&0 4<&1 5<&2 </dev/null >>\"$LOG\" 2>&1; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
/// The environment variables of HTTP proxies.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"];
const DIE_WITH_PARENT: &str = "--die-with-parent";

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a binary of this project with its output in `log`.
    ///
    /// The process is killed when the thread that starts it ends.
    pub fn start(binary: &str, args: &[&str], log: &Path) -> Result<Self> {
        Self::start_with(binary, args, &[], log)
    }

    /// Starts a binary with additional environment variables. A binary of another project is looked up in `PATH`.
    pub fn start_with(binary: &str, args: &[&str], env: &[(&str, String)], log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let streams = [Stdio::null(), file.try_clone()?.into(), file.into()];
        Self::spawn((binary, args), env, streams, log)
    }

    /// Starts a binary with `exec` after lines of shell, which can set limits or redirect streams.
    pub fn start_with_shell(
        shell: &str,
        (binary, args): (&str, &[&str]),
        env: &[(&str, String)],
        log: &Path,
    ) -> Result<Self> {
        let (program, script) = (find(binary)?, format!("{shell}\nexec \"$0\" \"$@\""));
        let args = [&["-c", &script, program.to_str().context("a path that is text")?], args].concat();
        Self::start_with("sh", &args, env, log)
    }

    /// Starts a binary as systemd does with socket activation: with sockets from descriptor 3 on, and `LISTEN_PID`.
    pub fn start_with_sockets(
        (binary, args): (&str, &[&str]),
        env: &[(&str, String)],
        sockets: Vec<OwnedFd>,
        log: &Path,
    ) -> Result<Self> {
        let program = find(binary)?;
        let args = [&["-c", LISTEN, program.to_str().context("a path that is text")?], args].concat();
        let mut env = env.to_vec();
        env.push(("LOG", log.to_string_lossy().into_owned()));
        let mut sockets = sockets.into_iter().map(Stdio::from);
        let streams = [(); MAX_SOCKETS].map(|()| sockets.next().unwrap_or_else(Stdio::null));
        let mut process = Self::spawn(("sh", &args), &env, streams, log)?;
        binary.clone_into(&mut process.name);
        Ok(process)
    }

    fn spawn(
        (binary, args): (&str, &[&str]),
        env: &[(&str, String)],
        [stdin, stdout, stderr]: [Stdio; 3],
        log: &Path,
    ) -> Result<Self> {
        let program = find(binary).or_else(|missing| installed(binary).ok_or(missing))?;
        let mut command = Command::new(std::env::current_exe()?);
        // The machine may use a proxy, but all peers of the binaries are local.
        for name in PROXIES {
            command.env_remove(name);
        }
        let child = command
            .arg(DIE_WITH_PARENT)
            .arg(std::process::id().to_string())
            .arg(&program)
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            // Ctrl-C must reach the parent alone, which stops its children in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: binary.to_owned(), child, log: log.to_owned() })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Sends SIGKILL and waits for the process to end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Returns the exit status, if the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the process to end.
    pub async fn end(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        eventually(&what, within, async || self.ended()?.context("it runs")).await
    }

    /// Fails with the log if the process has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended with {status}; it said:\n{}", self.name, self.log()?);
        }
        Ok(())
    }

    /// Returns the thread with this name.
    pub fn thread(&self, name: &str) -> Result<Pid> {
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?;
            if fs::read_to_string(task.path().join("comm"))?.trim() == name {
                return Ok(Pid::from_raw(task.file_name().to_string_lossy().parse()?));
            }
        }
        bail!("{} has no thread {name}", self.name)
    }

    /// Returns the log so far.
    pub fn log(&self) -> Result<String> {
        // Reading a pipe or a device would not end.
        ensure!(fs::metadata(&self.log)?.is_file(), "the log of {} is no file", self.name);
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Returns the CPU time used so far, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> Result<u64> {
        cpu_ticks_of(self.child.id())
    }

    /// Returns the resident memory (proc(5), `VmRSS` and `VmHWM`).
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = |key: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).context("a short status")?;
            let kib: u64 = line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse()?;
            Ok(kib * 1024)
        };
        Ok(Memory { now: value("VmRSS")?, most: value("VmHWM")? })
    }

    /// Returns the number of open files.
    pub fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Limits the number of open files (prlimit(1)).
    pub fn limit_files(&self, most: u32) -> Result<()> {
        let [pid, limit] = [format!("--pid={}", self.child.id()), format!("--nofile={most}:")];
        let status = Command::new("prlimit").args([pid, limit]).status().context("prlimit")?;
        ensure!(status.success(), "prlimit ended with {status}");
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// The current resident memory.
    pub now: u64,
    /// The maximum so far.
    pub most: u64,
}

/// Returns the CPU time that a process has used so far, in clock ticks of 10 ms (proc(5), `utime` and `stime`).
pub fn cpu_ticks_of(id: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let after_name = stat.rsplit(')').next().context("no name in stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("short stat")?.parse()?) };
    Ok(ticks(11)? + ticks(12)?)
}

/// The result of a finished command.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

/// Runs a binary of this project to its end, with no environment but `PATH` and `env`.
pub async fn run(binary: &str, args: &[String], env: &[(&str, &str)]) -> Result<Output> {
    let program = find(binary).or_else(|missing| installed(binary).ok_or(missing))?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Executes the program of [`Process::start`] if this process was started for it. Call this first in `main`.
pub fn trampoline() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some(DIE_WITH_PARENT.as_ref()) {
        return Ok(());
    }
    let parent: i32 = args.next().and_then(|a| a.into_string().ok()).context("no parent given")?.parse()?;
    let program: OsString = args.next().context("no program given")?;
    set_pdeathsig(Signal::SIGKILL)?;
    ensure!(getppid() == Pid::from_raw(parent), "the parent is gone already");
    Err(Command::new(&program).args(args).exec()).with_context(|| format!("cannot run {}", program.display()))
}

/// Returns the path of a binary of this project: beside this executable, or above its `deps` folder.
pub fn find(binary: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let beside = this.ancestors().skip(1).take(2).map(|dir| dir.join(binary));
    beside.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("there is no {binary} beside {}: run `cargo build --workspace` first", this.display())
    })
}

/// Returns the path of an installed program.
#[must_use]
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
