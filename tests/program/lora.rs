//! Runs that train adapters.

use safetensors::SafeTensors;

use crate::support::{Workplace, contents, text};

const LORA: [&str; 2] = ["training.lora.rank=2", "training.lora.alpha=4"];

/// A tensor of a run's finished model.
#[track_caller]
fn tensor(place: &Workplace, run: &str, name: &str) -> Vec<u8> {
    let weights = place.weights(run);
    let all = SafeTensors::deserialize(&weights).expect("safetensors");
    all.tensor(name).expect(name).data().to_vec()
}

#[test]
fn adapters_move_what_they_stand_beside_and_the_rest_is_frozen() {
    let place = Workplace::new();
    place.train(&["run_dir=base"]).good();
    let start = format!("start={}", text(&place.path("base")));
    let some = "training.lora.targets=['o_proj', 'down_proj']";
    place.train(&[&LORA[..], &[&start, some]].concat()).good();

    let layer = "lang_model.model.layers.0";
    for (name, moved) in [
        (format!("{layer}.self_attn.o_proj.weight"), true),
        (format!("{layer}.mlp.down_proj.weight"), true),
        (format!("{layer}.self_attn.qkv_proj.weight"), false),
        (format!("{layer}.input_layernorm.weight"), false),
        ("lang_model.model.embed_tokens.weight".to_owned(), false),
        ("lang_model.lm_head.weight".to_owned(), false),
        ("lang_model.lm_head.additional_fc.weight".to_owned(), true),
        ("vision_tokenizer.latents".to_owned(), true),
    ] {
        let differs = tensor(&place, "base", &name) != tensor(&place, "run", &name);
        assert_eq!(differs, moved, "{name}");
    }

    let adapter = contents(&place.path("run/adapter"));
    let names: Vec<String> = adapter.keys().map(|path| text(path)).collect();
    assert_eq!(names, ["adapter_config.json", "adapter_model.safetensors"]);
    let weights = adapter.values().nth(1).expect("the second");
    let all = SafeTensors::deserialize(weights).expect("safetensors");
    assert_eq!(all.len(), 4);
    let name = format!("base_model.model.{layer}.mlp.down_proj.lora_A.weight");
    assert_eq!(all.tensor(&name).expect(&name).shape(), [2, 64]);

    let question = [
        "generate", "--model", "run", "--device", "cpu", "--prompt", "hi",
    ];
    let answer = place.aki(&question).good().stdout;
    assert!(answer.ends_with('\n'), "{answer:?}");
}

/// With a packed base as well, which a checkpoint holds as it is.
#[test]
#[cfg(unix)]
fn a_stopped_run_goes_on_to_the_same_weights_and_adapters() {
    let place = Workplace::new();
    for base in ["same", "int8", "int4"] {
        let (whole, run) = (format!("whole-{base}"), format!("run-{base}"));
        let base = format!("training.lora.base={base}");
        let settings = |folder: &str| {
            let mut settings = LORA.map(str::to_owned).to_vec();
            settings.extend([
                base.clone(),
                format!("run_dir={folder}"),
                "stage.captions.steps=4".to_owned(),
                "stage.questions.steps=200".to_owned(),
                "stage.questions.evaluate_every=100".to_owned(),
            ]);
            settings
        };
        let of_whole = settings(&whole);
        let of_whole: Vec<&str> = of_whole.iter().map(String::as_str).collect();
        place.train(&of_whole).good();

        let of_run = settings(&run);
        let of_run: Vec<&str> = of_run.iter().map(String::as_str).collect();
        let mut running = place.start(&of_run);
        running.until(|| !place.checkpoints(&run, "questions").is_empty());
        let ended = running.interrupt();
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);

        // The model can be asked meanwhile.
        let question = [
            "generate", "--model", &run, "--device", "cpu", "--prompt", "hi",
        ];
        let answer = place.aki(&question).good().stdout;
        assert!(answer.ends_with('\n'), "{answer:?}");

        let ended = place.train(&of_run).good();
        assert!(ended.stderr.contains("resuming"), "{}", ended.stderr);
        assert!(place.weights(&run) == place.weights(&whole), "{base}");
        let adapter = |run: &str| contents(&place.path(run).join("adapter"));
        assert!(adapter(&run) == adapter(&whole), "{base}");
    }
}

#[test]
fn what_adapters_cannot_be() {
    let place = Workplace::new();
    let refused = |settings: &[&str]| place.train(&[&LORA[..], settings].concat()).refused();
    let message = refused(&["training.lora.rank=0"]);
    insta::assert_snapshot!(message, @"error: training.lora.rank: must be from 1 to model.language.hidden_size, which is 32");
    let message = refused(&["training.lora.alpha=-1"]);
    insta::assert_snapshot!(message, @"error: training.lora.alpha: must be more than 0");
    let message = refused(&["training.lora.targets=[]"]);
    insta::assert_snapshot!(message, @"error: training.lora.targets: name at least one of qkv_proj, o_proj, gate_up_proj, down_proj");
    let message = refused(&["training.lora.targets=['q_proj']"]);
    insta::assert_snapshot!(message, @r#"error: training.lora.targets: "q_proj" is none of the matrices of a block: qkv_proj, o_proj, gate_up_proj, down_proj"#);
    let frozen = "stage.questions.freeze=['vision_*', '*.lora_*', '*.additional_*']";
    let message = refused(&[frozen]);
    insta::assert_snapshot!(message, @"error: stage.questions.freeze: leaves no parameter to train: beside adapters all of the language model but them and the rows of added tokens is frozen already");
    let odd = "model.language.intermediate_size=40";
    let message = refused(&[odd, "training.lora.base=int4"]);
    insta::assert_snapshot!(message, @"error: training.lora.base: int8 and int4 hold 32 inputs in a block, and down_proj has 40; leave it out of the targets, or base out");
    assert!(place.names().is_empty());
}
