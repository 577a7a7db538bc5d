//! Chat templates, held against `transformers`; cases made by `tests/reference/chat_template.py`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aki_data::{ChatTemplate, DataError, Message, Role, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Chats {
    templates: HashMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    messages: Vec<(String, String)>,
    ids: Option<Vec<u32>>,
    error: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::open(&root().join("aki")).expect("a tokenizer folder")
}

fn chats() -> Chats {
    let text = std::fs::read_to_string(root().join("chat.json")).expect("cases");
    serde_json::from_str(&text).expect("cases")
}

fn say(role: Role, text: &str, pictures: usize) -> Message {
    Message {
        role,
        text: text.to_owned(),
        pictures,
    }
}

#[test]
fn prompts_are_those_of_transformers() {
    let (tokenizer, chats) = (tokenizer(), chats());
    for case in &chats.cases {
        let template = ChatTemplate::new(&chats.templates[&case.template]).expect("a template");
        let role = |name: &str| match name {
            "system" => Role::System,
            "user" => Role::User,
            _ => Role::Assistant,
        };
        let messages = case
            .messages
            .iter()
            .map(|(name, text)| say(role(name), text, 0));
        let result = template.prompt(&tokenizer, &messages.collect::<Vec<_>>(), 0);
        match (&case.ids, &case.error) {
            (Some(ids), _) => {
                assert_eq!(&result.expect("ids").input_ids, ids, "{:?}", case.messages);
            }
            (None, error) => {
                let expected = error.as_deref().expect("ids or an error");
                let error = result.expect_err("a refusal").to_string();
                assert!(error.contains(expected), "{error}");
            }
        }
    }
}

#[test]
fn pictures_stand_before_their_text() {
    let (tokenizer, chats) = (tokenizer(), chats());
    let template = ChatTemplate::new(&chats.templates["tags"]).expect("a template");
    let messages = [
        say(Role::User, "which?", 2),
        say(Role::Assistant, "this", 0),
        say(Role::User, "why?", 1),
    ];
    let sequence = template.prompt(&tokenizer, &messages, 3).expect("sequence");
    assert_eq!(sequence.media.len(), 3);
    let end = sequence.question_end.expect("a question");
    let assistant = tokenizer.special().roles().expect("tags").assistant;
    assert_eq!(sequence.input_ids[end - 1], assistant);
    assert!(sequence.media[1].end < end && end < sequence.media[2].start);
}

#[test]
fn a_bad_template_is_an_error() {
    let tokenizer = tokenizer();
    let messages = [say(Role::User, "hi", 0)];
    assert!(ChatTemplate::new("{% for %}").is_err());
    for source in [
        "{{ messages.nothing.at_all }}",
        "{{ messages | no_such_filter }}",
        "{% include 'chat' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{{ 'a' * 1000000000000 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ raise_exception('no') }}",
    ] {
        let template = ChatTemplate::new(source).expect("syntax");
        let error = template.prompt(&tokenizer, &messages, 0).expect_err(source);
        assert!(
            matches!(error, DataError::ChatTemplate { .. }),
            "{source}: {error}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_said_becomes_special(
        text in "(<image>|<\\|assistant\\|>|<\\|end\\|>|<s>|<<s>|\\PC|\u{F0000}){0,12}",
    ) {
        let (tokenizer, chats) = (tokenizer(), chats());
        let messages = [say(Role::User, &text, 1)];
        let count = |ids: &[u32]| {
            ids.iter().filter(|&&id| id == 1 || id >= tokenizer.special().eos).count()
        };
        for (name, expected) in [("tags", 4), ("brackets", 2), ("chatml", 1)] {
            let template = ChatTemplate::new(&chats.templates[name]).expect("a template");
            let sequence = template.prompt(&tokenizer, &messages, 1).expect("sequence");
            prop_assert_eq!(count(&sequence.input_ids), expected, "{}", name);
            prop_assert_eq!(sequence.media.len(), 1);
        }
    }
}
