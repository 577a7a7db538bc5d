//! What is done when the program is asked to end: by Ctrl-C, SIGTERM, or SIGHUP of a terminal that goes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// A Ctrl-C this long after the first signal is the user's, who would not wait. Launchers and `timeout`
/// send theirs twice at once, to a process and to its group.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether a signal came.
const PAUSE: Duration = Duration::from_millis(20);

/// The first signal that came; 0 before.
static FIRST: AtomicI32 = AtomicI32::new(0);

/// Exit code of a program that was asked to end, as shells have it: 128 and the signal's number. That of
/// Ctrl-C if there was no signal: the dashboard reads keys itself, and another rank may have been asked.
pub fn exit_code() -> u8 {
    match FIRST.load(Ordering::Relaxed) {
        0 => code_of(SIGINT),
        signal => code_of(signal),
    }
}

fn code_of(signal: i32) -> u8 {
    (128 + signal) as u8
}

/// Has `stop` called at the first signal. What it begins then is not cut off by further ones, but by a
/// Ctrl-C at least a second later, which ends the program at once.
///
/// # Errors
///
/// What the system says if signals cannot be waited for; each then does what it does by itself.
pub fn on_first(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut came = Vec::new();
    for signal in wanted() {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, flag.clone())?;
        came.push((signal, flag));
    }
    let (mut stop, mut first) = (Some(stop), None);
    let watch = move || {
        loop {
            let now = Instant::now();
            for (signal, flag) in &came {
                if !flag.swap(false, Ordering::Relaxed) {
                    continue;
                }
                if let Some(stop) = stop.take() {
                    FIRST.store(*signal, Ordering::Relaxed);
                    first = Some(now);
                    stop();
                } else if first.is_some_and(|first| is_impatient(*signal, now - first)) {
                    std::process::exit(i32::from(code_of(*signal)));
                }
            }
            std::thread::sleep(PAUSE);
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(watch).map(drop)
}

/// A flag that Ctrl-C sets, for what takes it back by itself. A Ctrl-C that finds it set ends the program at once.
///
/// # Errors
///
/// As [`on_first`].
pub fn ctrl_c() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let code = i32::from(code_of(SIGINT));
    signal_hook::flag::register_conditional_shutdown(SIGINT, code, flag.clone())?;
    signal_hook::flag::register(SIGINT, flag.clone())?;
    Ok(flag)
}

/// Whether a signal that came so long after the first one ends the program at once.
fn is_impatient(signal: i32, since: Duration) -> bool {
    signal == SIGINT && since >= IMPATIENCE
}

#[cfg(unix)]
fn wanted() -> Vec<i32> {
    use signal_hook::consts::SIGHUP;
    let mut wanted = vec![SIGINT, SIGTERM];
    // `nohup` has it ignored, so that the program outlives its terminal.
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    wanted
}

#[cfg(not(unix))]
fn wanted() -> Vec<i32> {
    vec![SIGINT, SIGTERM]
}

#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    use nix::libc;
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed, and what is written is a whole `sigaction`, of which all zeros are one.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_late_ctrl_c_is_impatient() {
        assert!(!is_impatient(SIGINT, Duration::from_millis(5)));
        assert!(is_impatient(SIGINT, Duration::from_secs(1)));
        assert!(!is_impatient(SIGTERM, Duration::from_secs(9)));
    }

    #[test]
    fn codes_are_the_shells() {
        assert_eq!([exit_code(), code_of(SIGTERM)], [130, 143]);
    }
}
