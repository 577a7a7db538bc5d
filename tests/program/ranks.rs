//! Training by several processes, which Open MPI's `mpirun` starts.

#[cfg(not(feature = "mpi"))]
use crate::support::{Workplace, finish};

#[cfg(not(feature = "mpi"))]
#[test]
fn without_mpi_several_processes_are_refused() {
    let place = Workplace::new();
    let refused = |variable: &str| {
        let mut command = place.training(&[]);
        command.env(variable, "2");
        finish(command, "").refused()
    };
    insta::assert_snapshot!(refused("OMPI_COMM_WORLD_SIZE"), @"error: this is one of 2 processes (OMPI_COMM_WORLD_SIZE), and this aki was built without MPI; build it with --features mpi, or start it once");
    assert!(refused("SLURM_STEP_NUM_TASKS").contains("built without MPI"));
    assert!(!place.path("run").exists());
}

#[cfg(feature = "mpi")]
mod several {
    use std::collections::BTreeMap;
    use std::fs;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use safetensors::SafeTensors;

    use crate::sources::{self, png};
    use crate::support::{Ended, Line, Running, Workplace, command, finish};

    /// The questions alone, whose batch is `batch` a rank.
    fn questions(batch: usize) -> [String; 2] {
        [
            "stage.captions.steps=0".to_owned(),
            format!("stage.questions.batch={batch}"),
        ]
    }

    /// Enough steps that a run is surely going on when its first checkpoint is seen.
    const LONG: [&str; 4] = [
        "stage.captions.steps=0",
        "stage.questions.steps=480",
        "stage.questions.batch=2",
        "stage.questions.evaluate_every=240",
    ];

    /// All ranks have ended this long after one of them did: Open MPI waits for a second, asks them to
    /// end, and kills them after another.
    const SOON: Duration = Duration::from_secs(15);

    /// `mpirun` of so many ranks of a command. It is no matter that there are more than cores, that a
    /// container's root starts it, and that a container does not let them read each other's memory.
    fn ranks(count: usize, aki: &Command) -> Command {
        let mut mpirun = Command::new("mpirun");
        mpirun
            .args(["--oversubscribe", "--bind-to", "none"])
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
            .args(["-n", &count.to_string()])
            .arg(aki.get_program())
            .args(aki.get_args());
        for (name, value) in aki.get_envs() {
            match value {
                Some(value) => mpirun.env(name, value),
                None => mpirun.env_remove(name),
            };
        }
        if let Some(folder) = aki.get_current_dir() {
            mpirun.current_dir(folder);
        }
        mpirun
    }

    fn train(place: &Workplace, count: usize, settings: &[&str]) -> Ended {
        finish(ranks(count, &place.training(settings)), "")
    }

    fn start(place: &Workplace, count: usize, settings: &[&str]) -> Running {
        let command = ranks(count, &place.training(settings));
        Running::start(command, Stdio::null())
    }

    fn tensors(place: &Workplace, run: &str) -> BTreeMap<String, Vec<f32>> {
        let bytes = place.weights(run);
        let tensors = SafeTensors::deserialize(&bytes).expect("weights");
        let values = tensors.tensors().into_iter().map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
            let values = tensor.data().as_chunks::<4>().0.iter();
            (
                name,
                values.map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            )
        });
        values.collect()
    }

    /// Checks that two runs have the same weights and losses, but for the rounding of sums.
    #[track_caller]
    fn alike(place: &Workplace, runs: [&str; 2]) {
        let [here, there] = runs.map(|run| tensors(place, run));
        assert!(here.keys().eq(there.keys()));
        let mut worst = (0.0, "");
        for (name, values) in &here {
            let pairs = values.iter().zip(&there[name]);
            let furthest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if furthest > worst.0 {
                worst = (furthest, name);
            }
        }
        assert!(worst.0 <= 1e-6, "{worst:?}");
        let [here, there] = runs.map(|run| place.metrics(run));
        let points = |lines: &[Line]| lines.iter().map(Line::point).collect::<Vec<_>>();
        assert_eq!(points(&here), points(&there));
        for (a, b) in here.iter().zip(&there) {
            assert!((a.loss - b.loss).abs() < 1e-5, "{a:?} {b:?}");
            assert_eq!(a.lr, b.lr);
        }
    }

    /// What the system says of a process: its state and who started it.
    fn stat(id: u32) -> Option<(String, u32)> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let mut behind = stat.rsplit(") ").next()?.split(' ');
        Some((behind.next()?.to_owned(), behind.next()?.parse().ok()?))
    }

    /// The processes that one has started.
    fn children(of: u32) -> Vec<u32> {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|&id| stat(id).is_some_and(|(_, parent)| parent == of))
            .collect()
    }

    /// Whether a process is neither gone nor dead.
    fn is_running(id: u32) -> bool {
        stat(id).is_some_and(|(state, _)| state != "Z" && state != "X")
    }

    /// Steps of a run that were logged.
    fn steps(place: &Workplace, run: &str) -> usize {
        let lines = place.metrics(run);
        lines.iter().filter(|line| line.split == "train").count()
    }

    fn refs(settings: &[String]) -> Vec<&str> {
        settings.iter().map(String::as_str).collect()
    }

    #[test]
    fn ranks_learn_what_one_learns_with_all_their_rows() {
        let place = Workplace::new();
        place
            .train(&[&refs(&questions(4))[..], &["run_dir=one"]].concat())
            .good();
        for (count, batch) in [(2, 2), (4, 1)] {
            let run = format!("run_dir=of-{count}");
            let ended = train(
                &place,
                count,
                &[&refs(&questions(batch))[..], &[&run]].concat(),
            );
            let ended = ended.good();
            assert_eq!(ended.stderr.matches("training on cpu").count(), 1);
            let told = format!("training on cpu in of-{count}, {count} ranks\n");
            assert!(ended.stderr.contains(&told), "{}", ended.stderr);
            assert_eq!(ended.stdout.matches("s of training; report: ").count(), 1);
            alike(&place, ["one", &run["run_dir=".len()..]]);
        }
        // With whatever else a step may have.
        let all = [
            "training.shard_optimizer=true",
            "training.recompute=true",
            "training.ema=0.9",
            "training.lora.rank=2",
            "training.lora.alpha=4",
            "stage.questions.micro_batch=1",
        ];
        place
            .train(&[&refs(&questions(4))[..], &all, &["run_dir=one-all"]].concat())
            .good();
        let settings = questions(2);
        let settings = [&refs(&settings)[..], &all, &["run_dir=two-all"]].concat();
        train(&place, 2, &settings).good();
        alike(&place, ["one-all", "two-all"]);
        // A complete run is shown once.
        let settings = questions(1);
        let again = train(
            &place,
            4,
            &[&refs(&settings)[..], &["run_dir=of-4"]].concat(),
        )
        .good();
        assert_eq!(again.stderr.matches("this run is complete").count(), 1);
    }

    #[test]
    fn ranks_are_given_the_records_that_one_would_be() {
        let place = sources::place("");
        // Records in place of shards, and all pictures whole.
        let text = sources::run_file("");
        let (before, shards) = text.split_once("kind = \"webdataset\"").expect("shards");
        let (_, after) = shards.split_once("buffer = 5\n").expect("their end");
        let records = "kind = \"jsonl\"\nannotations = \"own.jsonl\"\nimages = \"pictures\"\n";
        fs::write(place.path("run.toml"), format!("{before}{records}{after}")).expect("run file");
        for image in 8..10 {
            fs::write(place.path(format!("pictures/{image}.png")), png()).expect("picture");
        }
        let aki = |run: &str, batch: usize| {
            let mut command = command(&place.path(""));
            command.args(["train", "run.toml", "--device", "cpu"]);
            command.args(["--set", &format!("run_dir={run}")]);
            command.args(["--set", &format!("stage.own.batch={batch}")]);
            command.args(["--set", "stage.own.steps=12"]);
            command
        };
        let one = finish(aki("one", 4), "").good();
        for (count, batch) in [(2, 2), (4, 1)] {
            let run = format!("of-{count}");
            let ended = finish(ranks(count, &aki(&run, batch)), "").good();
            alike(&place, ["one", &run]);
            // They count together.
            let told = |stderr: &str| {
                let line = stderr.lines().find(|line| line.starts_with("stage own: "));
                let line = line.expect("counts").to_owned();
                line.split(" skipped").next().map(str::to_owned)
            };
            assert_eq!(told(&ended.stderr), told(&one.stderr));
        }
    }

    #[test]
    fn a_killed_rank_ends_all_and_they_go_on_to_the_same_weights() {
        let place = Workplace::new();
        train(&place, 2, &[&LONG[..], &["run_dir=whole"]].concat()).good();
        for shared in ["false", "true"] {
            let run = format!("killed-{shared}");
            let own = [
                format!("run_dir={run}"),
                format!("training.shard_optimizer={shared}"),
            ];
            let settings = [&LONG[..], &refs(&own)].concat();
            let mut running = start(&place, 2, &settings);
            running.until(|| !place.checkpoints(&run, "questions").is_empty());
            let started = children(running.id());
            assert_eq!(started.len(), 2, "{started:?}");
            running.signal("KILL", started[1]);
            let ended = running.end(SOON);
            assert_ne!(ended.code, Some(0));
            let told = "signal 9 (Killed)";
            assert!(ended.stderr.contains(told), "{}", ended.stderr);
            assert!(!place.path(&run).join("report.json").exists());
            // `mpirun` does not wait for those that it kills.
            let begun = Instant::now();
            while started.iter().any(|&id| is_running(id)) {
                assert!(begun.elapsed() < SOON, "a rank is left");
                std::thread::sleep(Duration::from_millis(10));
            }

            let alone = place.train(&settings).refused();
            let told = "written by 2 processes, and now there are 1; start as many as then";
            assert!(alone.contains(told), "{alone}");
            let ended = train(&place, 2, &settings).good();
            let told = ended
                .stderr
                .matches(&format!("resuming {run} at step "))
                .count();
            assert_eq!(told, 1, "{}", ended.stderr);
            // Nor do shares change a bit.
            assert!(place.weights(&run) == place.weights("whole"), "{run}");
        }
    }

    #[test]
    fn each_rank_keeps_its_share_of_the_optimizers_state() {
        let place = Workplace::new();
        let size = |run: &str, file: &str| {
            let folder = place.path(run).join("checkpoints/questions/step-000006");
            fs::metadata(folder.join(file)).map(|file| file.len())
        };
        let settings = questions(1);
        for (run, shared) in [("whole", "false"), ("shared", "true")] {
            let own = [
                format!("run_dir={run}"),
                format!("training.shard_optimizer={shared}"),
            ];
            train(&place, 4, &[refs(&settings), refs(&own)].concat()).good();
        }
        assert!(place.weights("whole") == place.weights("shared"));
        let whole = size("whole", "optimizer.bpk").expect("a file");
        for rank in 0..4 {
            let file = format!("optimizer-{rank}.bpk");
            assert!(size("whole", &file).is_err());
            let share = size("shared", &file).expect("a file");
            assert!(share < whole / 3, "{share} of {whole}");
        }
        assert!(size("shared", "optimizer.bpk").is_err());
    }

    #[test]
    fn a_termination_leaves_a_checkpoint_to_go_on_from() {
        let place = Workplace::new();
        train(&place, 2, &[&LONG[..], &["run_dir=whole"]].concat()).good();
        // Seconds in which to write a checkpoint, before they are killed.
        let mut command = ranks(2, &place.training(&LONG));
        command.env("OMPI_MCA_odls_base_sigkill_timeout", "5");
        let mut running = Running::start(command, Stdio::null());
        running.until(|| !place.checkpoints("run", "questions").is_empty());
        let id = running.id();
        running.signal("TERM", id);
        let ended = running.end(SOON);
        assert_ne!(ended.code, Some(0), "{}", ended.stderr);
        let steps = steps(&place, "run");
        assert!(steps < 480, "too late");
        assert_eq!(place.checkpoints("run", "questions").last(), Some(&steps));
        train(&place, 2, &LONG).good();
        assert!(place.weights("run") == place.weights("whole"));
    }

    #[test]
    fn a_stop_of_one_rank_stops_all() {
        let place = Workplace::new();
        let mut running = start(&place, 2, &LONG);
        running.until(|| !place.checkpoints("run", "questions").is_empty());
        let started = children(running.id());
        running.signal("INT", started[1]);
        let ended = running.end(SOON);
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        let told = "stopped in questions; the same command goes on from here";
        assert_eq!(ended.stderr.matches(told).count(), 1, "{}", ended.stderr);
        let steps = steps(&place, "run");
        assert_eq!(place.checkpoints("run", "questions").last(), Some(&steps));
    }

    /// Without what `mpirun` adds.
    fn errors(ended: &Ended) -> Vec<&str> {
        let lines = ended.stderr.lines();
        lines.filter(|line| line.starts_with("error: ")).collect()
    }

    #[test]
    fn what_all_ranks_find_is_told_once() {
        let place = Workplace::new();
        for (setting, told) in [
            ("stage.questions.batch=0", "batch"),
            ("data.test=[\"nowhere.tar\"]", "nowhere.tar"),
            ("stage.questions.sources=[\"none\"]", "sources"),
        ] {
            let ended = train(&place, 4, &[setting]);
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            let [error] = errors(&ended)[..] else {
                panic!("{}", ended.stderr);
            };
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn what_one_rank_finds_alone_ends_all() {
        let place = Workplace::new();
        let mut command = ranks(1, &place.training(&LONG));
        let other = place.training(&[&LONG[..], &["sede=1"]].concat());
        command.args([":", "-n", "1"]);
        command.arg(other.get_program()).args(other.get_args());
        let ended = Running::start(command, Stdio::null()).end(SOON);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let errors = errors(&ended);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("error: rank 1: "), "{errors:?}");
        assert!(errors[0].contains("sede"), "{errors:?}");
    }

    #[test]
    fn processes_that_do_not_see_each_other_are_refused() {
        let place = Workplace::new();
        let mut command = place.training(&[]);
        command.env("SLURM_STEP_NUM_TASKS", "2");
        let told = finish(command, "").refused();
        assert!(told.contains("MPI sees no other"), "{told}");
    }
}
