//! `aki chat`: conversations, commands, and a person at a terminal.

use std::fs;

use serde_json::{Value, json};

use crate::support::{self, Ended, Workplace};

const CHAT: [&str; 7] = [
    "chat",
    "--model",
    "run",
    "--device",
    "cpu",
    "--max-new-tokens",
    "8",
];

/// A tiny model in `run` and one of its pictures.
fn trained(settings: &[&str]) -> (Workplace, String) {
    let place = Workplace::new();
    place.train(settings).good();
    (place, "run/examples/1.png".to_owned())
}

/// What a saved conversation says.
fn saved(place: &Workplace, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(file)).expect("a conversation");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON")
}

#[test]
fn a_second_question_sees_the_first_with_its_picture_and_answer() {
    let (place, picture) = trained(&[]);
    let image = ["--image", &picture];
    let lines = "what color is the shape?\nis there a circle?\n:save said.jsonl\n";
    let ended = place.chat(&[&CHAT[..], &image].concat(), lines).good();
    let [question, first, again, second] = &saved(&place, "said.jsonl")[..] else {
        panic!("{}", ended.stdout);
    };
    assert_eq!(
        again,
        &json!({"role": "user", "content": "is there a circle?"})
    );
    let told = [first, second].map(|answer| format!("{}\n", answer["content"].as_str().unwrap()));
    assert_eq!(ended.stdout, told.concat());
    let shown = question["images"][0].as_str().expect("a path");
    assert!(
        shown.ends_with(&picture) && shown.starts_with('/'),
        "{shown}"
    );
    // The same, spelled out.
    let config = fs::read_to_string(place.path("run/model/config.json")).expect("config.json");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    let prompt = format!(
        "<s> <|system|>\n{}<|end|>\n<|user|>\n<image>\nwhat color is the shape?<|end|>\n<|assistant|>\n{}<|end|>\n<|user|>\nis there a circle?<|end|>\n<|assistant|>\n",
        config["system"].as_str().expect("a system line"),
        first["content"].as_str().unwrap(),
    );
    let generate = [
        &["generate", "--raw-prompt", "--prompt", &prompt],
        &CHAT[1..],
        &image,
    ];
    let spelled_out = place.aki(&generate.concat()).good();
    assert!(
        spelled_out.stdout.starts_with(told[1].trim_end()),
        "{spelled_out:?} {told:?}"
    );
}

#[test]
fn commands_are_carried_out_and_mistakes_told() {
    let (place, picture) = trained(&[]);
    fs::copy(place.path(&picture), place.path("my picture.png")).expect("a copy");
    let lines = format!(
        ":image\n:image 'my picture.png'\n:image my\\ picture.png {picture}\n:image\nhi\n:image\n\
         :save a.json\n:save a.json\n:save a.txt\n:save no/a.json\n:save! a.json\n:reset\n:image\n\
         /image x.png\n:wrong\n:) hi\n:save b.jsonl\n:quit\nnever asked\n"
    );
    let ended = place.chat(&CHAT, &lines);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let told = place.without_path(&ended.stdout);
    assert_eq!(
        told.matches("next question: [folder]/my picture.png (64 x 64)")
            .count(),
        2,
        "{told}"
    );
    assert_eq!(told.matches("question 1: [folder]/").count(), 3, "{told}");
    assert_eq!(told.matches("no picture was shown\n").count(), 2, "{told}");
    insta::assert_snapshot!(ended.stderr, @r"
    a.json is there already; :save! a.json replaces it
    a.txt ends neither in .jsonl nor in .json
    no folder no to write the conversation to
    :image FILE adds a picture to the next question
    no command :wrong; :help lists them
    error: 5 lines of the input were not carried out, for the reasons above
    ");
    let whole = fs::read_to_string(place.path("a.json")).expect("a.json");
    let whole: Value = serde_json::from_str(&whole).expect("JSON");
    assert_eq!(whole["model"], "run");
    assert_eq!(
        whole["messages"][0]["images"].as_array().map(Vec::len),
        Some(3)
    );
    let said = saved(&place, "b.jsonl");
    assert_eq!((said.len(), &said[0]["content"]), (2, &json!(":) hi")));
    assert!(said[0].get("images").is_none(), "{said:?}");
}

#[test]
fn a_conversation_that_outgrows_the_model_loses_its_oldest_turns() {
    let (place, picture) = trained(&["model.language.max_position_embeddings=64"]);
    let lines = format!("{}:save said.jsonl\n", "is there a circle?\n".repeat(6));
    let args = [&CHAT[..], &["--image", &picture]].concat();
    let ended = place.chat(&args, &lines).good();
    assert_eq!(saved(&place, "said.jsonl").len(), 12, "{}", ended.stderr);
    let told: Vec<&str> = ended.stderr.lines().collect();
    assert!(
        !told.is_empty() && told.iter().all(|line| line.contains("turns are left out")),
        "{told:?}"
    );
    let long = format!("{}\n", "circle ".repeat(80));
    let ended = place.chat(&args, &long);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("begin anew with :reset"),
        "{}",
        ended.stderr
    );
}

/// Does what a person does at a terminal: waits for texts, types others.
#[cfg(unix)]
const TERMINAL: &str = r#"
import json, os, pty, select, sys, time
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
seen, at, last = b"", 0, time.time() + 100
def read():
    global seen
    if time.time() > last or not select.select([terminal], [], [], 100)[0]:
        sys.exit(f"it hangs after {seen.decode(errors='replace')}")
    try:
        new = os.read(terminal, 65536)
    except OSError:
        new = b""
    seen += new
    return new
for kind, text in steps:
    text = text.encode()
    if kind == "type":
        os.write(terminal, text)
        continue
    if kind == "more":
        while len(seen) == at:
            read()
        continue
    while text not in seen[at:]:
        if not read():
            sys.exit(f"no {text} in {seen.decode(errors='replace')}")
    at = seen.index(text, at) + len(text)
while read():
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[cfg(unix)]
fn at_a_terminal(place: &Workplace, more: &[&str], steps: &[(&str, &str)]) -> Ended {
    let program = support::command(&place.path("."));
    let mut python = std::process::Command::new("python3");
    python
        .args(["-c", TERMINAL, &json!(steps).to_string()])
        .arg(program.get_program())
        .args(&CHAT[..5])
        .args(more)
        .current_dir(place.path("."))
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .env("XDG_STATE_HOME", place.path("state"));
    support::finish(python, "")
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_an_answer_and_the_chat_goes_on() {
    let (place, _) = trained(&[]);
    let ended = at_a_terminal(
        &place,
        // A model that learned next to nothing says one thing again and again.
        &["--max-new-tokens", "1000000"],
        &[
            ("see", "run on cpu"),
            ("see", "> "),
            ("type", "grüße 🙂\r"),
            ("see", "🙂"),
            ("see", "\n"),
            ("more", ""),
            ("type", "\x03"),
            ("see", "stopped; first token after "),
            ("see", "> "),
            ("type", ":save said.jsonl\r"),
            ("see", "1 turns are in said.jsonl"),
            ("see", "> "),
            ("type", "half a line\x03"),
            ("see", "Ctrl-C again"),
            ("see", "> "),
            ("type", "\x03"),
        ],
    )
    .good();
    let said = saved(&place, "said.jsonl");
    assert_eq!(said[0]["content"], "grüße 🙂", "{}", ended.stdout);
    assert_eq!(said[1]["stopped"], true);
}

#[cfg(unix)]
#[test]
fn lines_are_edited_and_remembered_for_their_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (place, _) = trained(&[]);
    let more = ["--max-new-tokens", "4"];
    let begin = [("see", "> "), ("type", "is there a circlx?\x1b[D\x7fe\r")];
    let save = [
        ("see", "first token after"),
        ("see", "> "),
        ("type", ":save a.jsonl\r"),
    ];
    let end = [("see", "are in"), ("see", "> "), ("type", "\x04")];
    at_a_terminal(&place, &more, &[&begin[..], &save, &end].concat()).good();
    assert_eq!(saved(&place, "a.jsonl")[0]["content"], "is there a circle?");
    // The next chat finds it: two lines up. What is pasted is one question, its line breaks in it.
    let again = [
        ("see", "> "),
        ("type", "\x1b[A\x1b[A\r"),
        ("see", "first token after"),
        ("see", "> "),
        ("type", "\x1b[200~one\rtwo\x1b[201~\r"),
        ("see", "first token after"),
        ("see", "> "),
        ("type", ":save b.jsonl\r"),
    ];
    at_a_terminal(&place, &more, &[&again[..], &end].concat()).good();
    let said = saved(&place, "b.jsonl");
    assert_eq!(said[0]["content"], "is there a circle?");
    assert_eq!(said[2]["content"], "one\ntwo");
    for (name, others) in [("state/aki", 0o077), ("state/aki/chat-history", 0o077)] {
        let mode = fs::metadata(place.path(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & others, 0, "{name}: {mode:o}");
    }
}
