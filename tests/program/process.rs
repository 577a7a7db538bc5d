//! A program that runs, and how it ended.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// No call takes longer, even on a loaded machine that compiles all kernels for a GPU: beyond it the program hangs.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Runs a command to its end, giving it `stdin` to read.
pub fn finish(command: Command, stdin: impl Into<Vec<u8>>) -> Ended {
    let mut command = assert_cmd::Command::from_std(command);
    let output = command.timeout(TIMEOUT).write_stdin(stdin).output();
    Ended::new(output.expect("the program starts"))
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
}

impl Ended {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Checks that all went well.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "stderr:\n{}", self.stderr);
        self
    }

    /// Checks that a mistake was told as it should be, and returns the message.
    #[track_caller]
    pub fn refused(self) -> String {
        let stderr = self.stderr.trim_end();
        for word in ["panicked", "backtrace"] {
            assert!(!stderr.contains(word), "{word} in stderr:\n{stderr}");
        }
        assert_eq!(self.code, Some(2), "stderr:\n{stderr}");
        assert_eq!(self.stdout, "", "stderr:\n{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        let errors: Vec<usize> = (0..lines.len())
            .filter(|&line| lines[line].starts_with("error: "))
            .collect();
        let [error] = errors[..] else {
            panic!("not one error in stderr:\n{stderr}");
        };
        let before = &lines[..error];
        let expected =
            |line: &&str| line.starts_with("training on ") || line.starts_with("resuming ");
        assert!(before.iter().all(expected), "stderr:\n{stderr}");
        let message = lines[error..].join("\n");
        // What the system said, such as "No such file or directory (os error 2)", is said once.
        let told = message.matches("(os error ").count();
        assert!(told <= 1, "told {told} times:\n{message}");
        message
    }
}

/// A program that has not ended yet. It is killed with the test.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    /// Starts a command, without waiting for its end.
    pub fn start(mut command: Command, stdin: Stdio) -> Self {
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        Self { child: Some(child) }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("still running")
    }

    /// The first line that it prints; nothing can be read of those after it.
    #[track_caller]
    pub fn first_line(&mut self) -> String {
        let stdout = self.child().stdout.take().expect("not read yet");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("UTF-8");
        line.trim_end().to_owned()
    }

    /// The number of its process.
    pub fn id(&mut self) -> u32 {
        self.child().id()
    }

    /// Waits until `reached` says so, which has to be before the program ends.
    #[track_caller]
    pub fn until(&mut self, reached: impl Fn() -> bool) {
        let begun = Instant::now();
        while !reached() {
            let ended = self.child().try_wait().expect("a child");
            assert!(ended.is_none(), "it ended before it was stopped: {ended:?}");
            assert!(begun.elapsed() < TIMEOUT, "it does not get there");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills it outright, as `kill -9` does.
    #[track_caller]
    pub fn kill(mut self) {
        let ended = self.child().try_wait().expect("a child");
        assert!(ended.is_none(), "it ended before it was killed: {ended:?}");
        drop(self);
    }

    /// Sends a signal, such as `INT`, to it or to a process that it started.
    #[cfg(unix)]
    #[track_caller]
    pub fn signal(&mut self, signal: &str, id: u32) {
        let ended = self.child().try_wait().expect("a child");
        assert!(ended.is_none(), "it ended before the signal: {ended:?}");
        let id = id.to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill").success(), "no process {id}");
    }

    /// Waits for its end, which has to come soon.
    #[track_caller]
    pub fn end(mut self, within: Duration) -> Ended {
        let begun = Instant::now();
        while self.child().try_wait().expect("a child").is_none() {
            // Dropped, it is killed.
            assert!(begun.elapsed() < within, "it does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        let child = self.child.take().expect("still there");
        Ended::new(child.wait_with_output().expect("its output"))
    }

    /// Presses Ctrl-C and waits for the end.
    #[cfg(unix)]
    #[track_caller]
    pub fn interrupt(mut self) -> Ended {
        self.send("INT");
        self.ended()
    }

    /// Sends it a signal.
    #[cfg(unix)]
    #[track_caller]
    pub fn send(&mut self, signal: &str) {
        let id = self.id();
        self.signal(signal, id);
    }

    /// Sends it a signal again and again, whether it has ended or not.
    #[cfg(unix)]
    pub fn send_repeatedly(&mut self, signal: &str) {
        let each = "for n in 1 2 3 4 5; do kill -s $0 $1; sleep 0.01; done 2>/dev/null";
        let id = self.id().to_string();
        let sent = Command::new("sh").args(["-c", each, signal, &id]).status();
        sent.expect("a shell");
    }

    /// Waits for the end.
    #[track_caller]
    pub fn ended(self) -> Ended {
        self.end(TIMEOUT)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
