//! Help texts, masks, run files and completions.

use std::fs;

use crate::support::{Workplace, asset, command, finish, repository};

fn printed(args: &[&str]) -> String {
    let ended = Workplace::new().aki(args).good();
    assert_eq!(ended.stderr, "");
    ended.stdout
}

/// A help text, without the blanks that clap puts into empty lines.
fn help(args: &[&str]) -> String {
    let text = printed(&[args, &["--help"]].concat());
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(help(&[]), @r#"
    Train, question and look at modality-mutual-attention models.

    In a multimodal language model the image tokens come first and, under a causal mask, never see the
    question. Modality-mutual attention (MMA) lets them.

    Usage: aki <COMMAND>

    Commands:
      train        Train a model, or go on with a run that was stopped
      plan         What a run takes before it is begun: memory by part, steps, tokens, operations, time
      generate     Answer one question about a picture, or about several
      chat         Talk about pictures: each question sees those before it, and their answers
      serve        Serve a model over HTTP, for OpenAI's clients and for a browser
      doctor       What this machine has for aki: processor, GPUs, memory, and what is wrong
      convert      Write a checkpoint anew: other numbers, other shards, parts put together
      quantize     Write a model anew with its matrices in 8 or 4 bits a number
      eval         Measure a model on benchmarks, or compare what two models came to
      inspect      Look at a model
      probe        Show what training would see of some samples: ids, labels, losses, gradients
      mask         Draw who may look at whom in a prompt
      bench        Time what the project is about
      data         Look at the data of a run, or pack data into shards
      study        Train systems that differ in one thing, and compare them
      runs         Look at runs: list them, compare them, find their best checkpoints, remove old ones
      config       Look at run files
      completions  Print a shell's completion script
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    First steps:
      aki train                      train a small AKI on the built-in pictures (CPU, half an hour)
      aki generate --model runs/easy-vqa --image picture.png --prompt "What color is the shape?"
      aki mask                       see what MMA changes
    "#);
}

#[test]
fn help_of_train() {
    insta::assert_snapshot!(help(&["train"]), @r#"
    Train a model, or go on with a run that was stopped

    Everything about a run stands in one TOML file. Run the same command again to go on with a run that
    was stopped; Ctrl-C and SIGTERM write a checkpoint first.

    Usage: aki train [OPTIONS] [FILE]

    Arguments:
      [FILE]
              The run file; the built-in easy-VQA run if left out

    Options:
          --set <KEY=VALUE>
              Change a value of the run file, e.g. seed=2 or stage.questions.steps=100

          --fresh
              Begin anew; a run that is in its folder already is renamed to NAME.old-1

          --from <CHECKPOINT>
              Go on from this checkpoint, RUN/checkpoints/STAGE/STEP, of this run or of another one with
              the same settings; later ones of this run are renamed to STEP.old

          --device <DEVICE>
              Where to compute: auto, cpu, wgpu, wgpu:1, cuda or cuda:1

              [default: auto]

          --tflops <N>
              What the device computes at best, in 10^12 floating-point operations a second, to tell the
              share of it that is reached (MFU)

          --tui
              Burn's dashboard instead of progress bars

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_plan() {
    insta::assert_snapshot!(help(&["plan"]), @r#"
    What a run takes before it is begun: memory by part, steps, tokens, operations, time

    Nothing is read but the run file. With --gpu it says whether a card of that size will do, 5 % of it
    kept back, and what to change if not: then its exit code is 1.

    Usage: aki plan [OPTIONS] [FILE]

    Arguments:
      [FILE]
              The run file; the built-in easy-VQA run if left out

    Options:
          --set <KEY=VALUE>
              Change a value of the run file

          --gpu <SIZE>
              Memory of the card, as 80GiB or 24GB; the run is said to fit or not

          --ranks <N>
              Cards, each with a rank of its own

              [default: 1]

          --text <N>
              Tokens of text to a picture, where a stage does not limit them

              [default: 64]

          --tflops <N>
              What the card computes at best, in 10^12 floating-point operations a second; then times
              are told too

          --utilisation <SHARE>
              The share of --tflops that training reaches, from 0 to 1

              [default: 0.4]

          --json
              One JSON object in place of tables

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn help_of_mask() {
    insta::assert_snapshot!(help(&["mask"]), @r#"
    Draw who may look at whom in a prompt

    Rows look at columns. Green: the causal part. Orange: what the policy unlocks beyond it.

    Usage: aki mask [OPTIONS]

    Options:
          --policy <POLICY>
              Which rule; causal, prefix and mma if left out

              Possible values:
              - causal:        Every token sees what came before
              - bidirectional: Every token sees everything
              - prefix:        Everything up to the end of the question sees all of it
              - mma:           Causal, and the image sees the question
              - cca:           Concentric causal: image tokens see their ring and those outside it

      -p, --prompt <TEXT>
              The question

              [default: "What color is the shape?"]

          --answer <TEXT>
              An answer after the question

              [default: blue]

          --image-tokens <N>
              Image tokens

              [default: 9]

          --png <FILE>
              Write the picture here as a PNG as well

          --tokenizer <FILE>
              A tokenizer.json; the built-in one if left out

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn the_version_is_told() {
    let version = format!("aki {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(&["--version"]), version);
}

#[test]
fn a_mask_is_drawn() {
    let tokenizer = asset("easy-vqa/tokenizer.json");
    let args = [
        "mask",
        "--policy",
        "mma",
        "--image-tokens",
        "3",
        "--prompt",
        "hi",
    ];
    let args = [&args[..], &["--tokenizer", &tokenizer]].concat();
    insta::assert_snapshot!(printed(&args), @r#"
    mma
      s s s s s s s s s s s i i i q q q q q a a
    s ■ · · · · · · · · · · · · · · · · · · · ·
    s ■ ■ · · · · · · · · · · · · · · · · · · ·
    s ■ ■ ■ · · · · · · · · · · · · · · · · · ·
    s ■ ■ ■ ■ · · · · · · · · · · · · · · · · ·
    s ■ ■ ■ ■ ■ · · · · · · · · · · · · · · · ·
    s ■ ■ ■ ■ ■ ■ · · · · · · · · · · · · · · ·
    s ■ ■ ■ ■ ■ ■ ■ · · · · · · · · · · · · · ·
    s ■ ■ ■ ■ ■ ■ ■ ■ · · · · · · · · · · · · ·
    s ■ ■ ■ ■ ■ ■ ■ ■ ■ · · · · · · · · · · · ·
    s ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · · · · · · · · · · ·
    s ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · · · · · · · · · ·
    i ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · · □ □ □ □ □ · ·
    i ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · □ □ □ □ □ · ·
    i ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ □ □ □ □ □ · ·
    q ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · · · · · ·
    q ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · · · · ·
    q ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · · · ·
    q ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · · ·
    q ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ · ·
    a ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ·
    a ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■

    rows look at columns: ■ causal, □ unlocked;  s system  i image  q question  a answer
    "#);
}

/// In the repository the tokenizer need not be named.
#[test]
fn all_masks_are_drawn_into_a_png() {
    let place = Workplace::new();
    let png = place.path("masks.png");
    let mut command = command(&repository());
    command.args(["mask", "--png"]).arg(&png);
    let ended = finish(command, "").good();
    for policy in ["causal\n", "prefix\n", "mma\n"] {
        assert!(ended.stdout.contains(policy), "{}", ended.stdout);
    }
    let told = format!("wrote {}\n", png.display());
    assert!(ended.stdout.ends_with(&told), "{}", ended.stdout);
    let picture = image::open(&png).expect("a picture").into_rgb8();
    assert!(
        picture.width() > 3 * picture.height() - 100,
        "three masks side by side"
    );
    let orange = image::Rgb([0xf4, 0x8c, 0x2a]);
    assert!(
        picture.pixels().any(|&pixel| pixel == orange),
        "nothing is unlocked"
    );
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in ["train", "generate", "chat", "mask", "completions"] {
            assert!(script.contains(command), "{command} for {shell}");
        }
    }
}

#[test]
fn a_run_file_is_shown_as_it_would_be_used() {
    let shipped = asset("configs/easy-vqa.toml");
    let shown = printed(&["config", "show", &shipped, "--set", "seed=9"]);
    let table: toml::Table = shown.parse().expect("TOML");
    assert_eq!(table["seed"].as_integer(), Some(9));
    let train = table["data"]["train"][0].as_str();
    assert_eq!(train, Some(asset("easy-vqa/train.tar").as_str()));
    // What is shown is a run file itself, whole and the same run wherever it lies.
    let place = Workplace::new();
    fs::write(place.path("shown.toml"), &shown).expect("a run file");
    let again = place.aki(&["config", "show", "shown.toml"]).good();
    assert_eq!(again.stdout, shown);
}
