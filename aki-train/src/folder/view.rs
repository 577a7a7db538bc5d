//! Who looks at whom in a conversation, word by word.

use std::ops::Range;

use aki_data::{Message, Picture, Piece, Sequence, TextStream};
use aki_model::attention::Policy;
use aki_model::generate::Prompt;
use burn::tensor::{FloatDType, Tensor, TensorData};

use super::ModelFolder;
use crate::TrainError;

/// Numbers that a view holds in one direction at most.
const MOST_VALUES: usize = 1 << 22;

/// Which part of a conversation a word is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A tag or a line break that the template puts between turns.
    Tag,
    /// The system line, and whatever else stands before the first turn.
    System,
    /// A question.
    Question,
    /// An answer.
    Answer,
}

/// Neighbouring tokens that make a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its letters, without the blank before it.
    pub text: String,
    /// Where its tokens stand.
    pub tokens: Range<usize>,
    /// What it is a part of.
    pub part: Part,
}

/// The attention between a conversation's pictures and its words.
#[derive(Clone, Debug)]
pub struct View {
    /// All words, in order.
    pub words: Vec<Word>,
    /// Whether the rule shows a picture's tokens the word, for each word.
    pub shown: Vec<bool>,
    /// Numbers of the decoder's blocks that were looked at.
    pub layers: Vec<usize>,
    /// The decoder's blocks.
    pub depth: usize,
    /// How much media tokens look at words (the sum over a word's tokens), in f32,
    /// `[layers, heads, words, media]`; media tokens of all pictures stand one after the other.
    pub of_media: TensorData,
    /// How much words look at media tokens (the mean over a word's tokens), in f32,
    /// `[layers, heads, words, media]`.
    pub of_words: TensorData,
    /// From which patches media tokens come, in f32, `[media, patches]`: a row sums to 1, less the part of
    /// CLIP's class token. Patches lie row by row on a square grid.
    pub sources: TensorData,
}

impl ModelFolder {
    /// Looks at the attention of a conversation whose last answer is `answer`, as if it had just been
    /// given, under `policy`. Without `layers` it is as many as 2^22 numbers hold, from first to last.
    ///
    /// # Errors
    ///
    /// As [`ModelFolder::prompt`]; [`TrainError::Request`] if there is no picture, a layer is not there, or
    /// those asked for have more than 2^22 numbers.
    pub fn view(
        &self,
        messages: &[Message],
        answer: Option<&str>,
        pictures: &[&Picture],
        policy: Policy,
        layers: Option<&[usize]>,
    ) -> Result<View, TrainError> {
        let mut sequence = self.sequence(messages)?;
        let begin = sequence.input_ids.len();
        if let Some(answer) = answer {
            self.push_answer(&mut sequence, answer)?;
        }
        let prompt = self.prepared_under(policy, sequence, pictures)?;
        let Some(pixels) = prompt.pixels.clone() else {
            let reason = "there is no picture in the conversation: nothing to look at";
            return Err(TrainError::Request(reason.to_owned()));
        };
        let words = self.words(&prompt, begin)?;
        let media: usize = prompt.spans.iter().map(|span| span.tokens.len()).sum();
        let language = &self.config.model.language;
        let (depth, heads) = (language.num_hidden_layers, language.num_attention_heads);
        let layers = choose(layers, depth, heads * words.len() * media)?;

        let text: Vec<usize> = words.iter().flat_map(|word| word.tokens.clone()).collect();
        let device = pixels.device();
        let [sum, mean] = [false, true].map(|mean| {
            let data = TensorData::new(by_word(&words, mean), [words.len(), text.len()]);
            Tensor::<2>::from_data(data, &device)
                .cast(FloatDType::F32)
                .unsqueeze::<3>()
        });
        let views = self.aki.view(&prompt, &text, &layers);
        let (of_media, of_words): (Vec<_>, Vec<_>) = views
            .into_iter()
            .map(|view| {
                let of_media: Tensor<3> = sum.clone().matmul(view.of_media);
                let of_words: Tensor<3> = mean.clone().matmul(view.of_text);
                (of_media, of_words)
            })
            .unzip();
        let visible = |word: &Word| {
            let mut media = prompt.spans.iter().flat_map(|span| span.tokens.clone());
            media.any(|i| (word.tokens.clone()).any(|j| prompt.layout.visible(0, i, j)))
        };
        Ok(View {
            shown: words.iter().map(visible).collect(),
            words,
            layers,
            depth,
            of_media: Tensor::stack::<4>(of_media, 0).into_data(),
            of_words: Tensor::stack::<4>(of_words, 0).into_data(),
            sources: self.patches_of(pixels),
        })
    }

    /// The rows of [`View::sources`].
    fn patches_of(&self, pixels: Tensor<4>) -> TensorData {
        let sources = self.aki.sources(pixels);
        let [pictures, media, tokens] = sources.dims();
        // CLIP's class token stands before the patches.
        let patches = self.config.model.vision.num_patches();
        let sources = sources.narrow(2, tokens - patches, patches);
        sources.reshape([pictures * media, patches]).into_data()
    }

    /// A conversation of several turns under another rule than the model's own.
    ///
    /// # Errors
    ///
    /// As [`Self::prompt`].
    pub fn conversation_under(
        &self,
        policy: Policy,
        messages: &[Message],
        pictures: &[&Picture],
    ) -> Result<Prompt, TrainError> {
        self.prepared_under(policy, self.sequence(messages)?, pictures)
    }

    /// Puts an answer's ids behind a prompt.
    fn push_answer(&self, sequence: &mut Sequence, answer: &str) -> Result<(), TrainError> {
        let tokenizer = &self.tokenizer;
        let mut ids = tokenizer.encode(&[Piece::Text(answer)])?;
        if let Some(roles) = tokenizer.special().roles {
            // Behind the tag and its line break, as the model gives it.
            let tag = [Piece::Special(roles.assistant), Piece::Text("\n")];
            let before = tokenizer.encode(&tag)?.len();
            ids = tokenizer.encode(&[tag[0], tag[1], Piece::Text(answer)])?;
            ids.drain(..before.min(ids.len()));
        }
        sequence.labels.extend(ids.iter().map(|&id| i64::from(id)));
        sequence.input_ids.extend(ids);
        Ok(())
    }

    /// The words of a prompt whose last answer begins at `begin`.
    fn words(&self, prompt: &Prompt, begin: usize) -> Result<Vec<Word>, TrainError> {
        let tokenizer = &self.tokenizer;
        let roles = tokenizer.special().roles;
        // Without tags nothing tells where turns begin.
        let mut part = roles.map_or(Part::Question, |_| Part::System);
        let mut words: Vec<Word> = Vec::new();
        let mut stream = TextStream::new(tokenizer);
        for (at, &id) in prompt.input_ids.iter().enumerate() {
            if prompt.spans.iter().any(|span| span.tokens.contains(&at)) {
                continue;
            }
            let mut word = Word {
                text: tokenizer.decode_marked(&[id])?,
                tokens: at..at + 1,
                part: Part::Tag,
            };
            if tokenizer.decode(&[id])?.is_empty() && !word.text.is_empty() {
                if let Some(roles) = roles {
                    part = match id {
                        _ if id == roles.user => Part::Question,
                        _ if id == roles.assistant => Part::Answer,
                        _ => part,
                    };
                }
                words.push(word);
                stream = TextStream::new(tokenizer);
                continue;
            }
            if at == begin {
                part = Part::Answer;
            }
            word.text = stream.push(id)?;
            if !word.text.trim().is_empty() || word.text.is_empty() {
                word.part = part;
            }
            match words.last_mut() {
                Some(last) if last.tokens.end == at && goes_on(last, &word) => {
                    last.text.push_str(&word.text);
                    last.tokens.end = at + 1;
                }
                _ => words.push(word),
            }
        }
        for word in &mut words {
            word.text = word.text.trim().to_owned();
        }
        Ok(words)
    }
}

/// Whether the next token's text belongs to the word before it. Tokens that give no text yet are the
/// beginning of a character.
fn goes_on(word: &Word, next: &Word) -> bool {
    // Scripts from Chinese on stand without blanks.
    let letter = |it: char| it.is_alphanumeric() && it < '\u{2e80}';
    word.part == next.part
        && word.part != Part::Tag
        && match (word.text.chars().last(), next.text.chars().next()) {
            (Some(last), Some(first)) => letter(last) && letter(first),
            (None, _) => true,
            (Some(_), None) => false,
        }
}

/// Which layers to look at, given the numbers that one has.
fn choose(asked: Option<&[usize]>, depth: usize, values: usize) -> Result<Vec<usize>, TrainError> {
    let most = MOST_VALUES / values.max(1);
    let layers = match asked {
        Some(asked) => {
            if let Some(layer) = asked.iter().find(|layer| **layer >= depth) {
                return Err(TrainError::Request(format!(
                    "layer {layer} is not there: the decoder has {depth}, numbered from 0"
                )));
            }
            (0..depth).filter(|layer| asked.contains(layer)).collect()
        }
        None if depth <= most => (0..depth).collect(),
        None if most == 1 => vec![depth - 1],
        None => (0..most)
            .map(|at| at * (depth - 1) / (most - 1).max(1))
            .collect::<Vec<_>>(),
    };
    if layers.is_empty() || layers.len() > most {
        return Err(TrainError::Request(format!(
            "{} layers of {values} numbers are to be looked at, and it can be {most}; ask for other \
             layers, or about a shorter conversation",
            layers.len()
        )));
    }
    Ok(layers)
}

/// `[words, tokens]`: 1 where a token is the word's, or its share of the word.
fn by_word(words: &[Word], mean: bool) -> Vec<f32> {
    let tokens: usize = words.iter().map(|word| word.tokens.len()).sum();
    let mut values = vec![0.0; words.len() * tokens];
    let mut at = 0;
    for (row, word) in values.chunks_mut(tokens).zip(words) {
        let len = word.tokens.len();
        row[at..at + len].fill(if mean { 1.0 / len as f32 } else { 1.0 });
        at += len;
    }
    values
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use aki_data::{PictureOrder, Role, Tokenizer};
    use aki_model::AkiConfig;
    use burn::tensor::Device;

    use super::*;
    use crate::folder::FolderConfig;

    fn folder() -> ModelFolder {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tokenizer = repository.join("assets/easy-vqa/tokenizer.json");
        let tokenizer = Tokenizer::from_file(&tokenizer).expect("a tokenizer");
        let mut model = AkiConfig::preset("aki-tiny").expect("a preset");
        model.language.num_hidden_layers = 2;
        let device = Device::flex();
        device.seed(1);
        ModelFolder {
            aki: model.init(tokenizer.base_vocab(), &device),
            config: FolderConfig {
                quantization: None,
                model,
                base_vocab: tokenizer.base_vocab(),
                pad: tokenizer.special().pad,
                system: Some("Answer the question about the picture.".to_owned()),
                attention: Policy::Mma,
                order: PictureOrder::ImageText,
                norm_mean: [0.5; 3],
                norm_std: [0.5; 3],
                exif_orientation: false,
            },
            tokenizer: Arc::new(tokenizer),
            chat_template: None,
        }
    }

    fn message(role: Role, text: &str, pictures: usize) -> Message {
        Message {
            role,
            text: text.to_owned(),
            pictures,
        }
    }

    fn picture() -> Picture {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aki-data/tests/fixtures/pillow");
        Picture::open(&file.join("noise_64x64.png")).expect("a picture")
    }

    fn texts(view: &View, part: Part) -> Vec<&str> {
        let words = view.words.iter().filter(|word| word.part == part);
        words.map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn words_are_those_of_the_conversation() {
        let (folder, picture) = (folder(), picture());
        let messages = [
            message(Role::User, "what color is the triangle?", 1),
            message(Role::Assistant, "blue", 0),
            message(Role::User, "is there a 三角形? 🙂", 0),
        ];
        let view = folder.view(&messages, Some("yes it is"), &[&picture], Policy::Mma, None);
        let view = view.expect("a view");
        assert_eq!(
            texts(&view, Part::System).join(" "),
            "answer the question about the picture ."
        );
        assert_eq!(
            texts(&view, Part::Question),
            [
                "what", "color", "is", "the", "triangle", "?", "is", "there", "a", "三", "角",
                "形", "?", "🙂"
            ]
        );
        assert_eq!(texts(&view, Part::Answer), ["blue", "yes", "it", "is"]);
        let tags = texts(&view, Part::Tag).join("");
        assert!(
            tags.starts_with("<s><|system|><|end|><|user|>"),
            "the picture stands between: {tags}"
        );
        assert!(tags.ends_with("<|end|><|assistant|>"), "{tags}");
        // All tokens but the picture's, each once.
        let tokens = view
            .words
            .iter()
            .map(|word| word.tokens.len())
            .sum::<usize>();
        let last = view.words.last().expect("words").tokens.end;
        assert_eq!(tokens + folder.config.model.media_len(), last);
    }

    /// Of a question it is shown by the rule, and what it shows are probabilities.
    #[test]
    fn pictures_look_at_the_first_question_under_mma() {
        let (folder, picture) = (folder(), picture());
        let messages = [
            message(Role::User, "what color is it?", 1),
            message(Role::Assistant, "blue", 0),
            message(Role::User, "is it a triangle?", 0),
        ];
        let look = |policy| {
            let view = folder.view(&messages, Some("no"), &[&picture], policy, None);
            view.expect("a view")
        };
        let (mma, causal) = (look(Policy::Mma), look(Policy::Causal));
        let shown = |view: &View, part| -> Vec<bool> {
            let words = view.words.iter().zip(&view.shown);
            let of_part = words.filter(|(word, _)| word.part == part);
            of_part.map(|(_, shown)| *shown).collect()
        };
        let first = [true; 5].into_iter().chain([false; 5]);
        assert_eq!(shown(&mma, Part::Question), first.collect::<Vec<_>>());
        assert_eq!(shown(&causal, Part::Question), [false; 10]);
        assert_eq!(shown(&mma, Part::Answer), [false; 2]);

        let (words, media) = (mma.words.len(), folder.config.model.media_len());
        assert_eq!(mma.layers, [0, 1]);
        for view in [&mma, &causal] {
            assert_eq!(view.of_media.shape().as_slice(), [2, 6, words, media]);
            assert_eq!(view.of_words.shape().as_slice(), [2, 6, words, media]);
            let values: Vec<f32> = view.of_media.iter().collect();
            for (at, values) in values.chunks(media).enumerate() {
                let some = values.iter().any(|&value| value > 0.0);
                assert_eq!(some, view.shown[at % words]);
                assert!(values.iter().all(|value| (0.0..=1.0001).contains(value)));
            }
            let sources: Vec<f32> = view.sources.iter().collect();
            for row in sources.chunks(folder.config.model.vision.num_patches()) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn layers_are_as_many_as_fit() {
        assert_eq!(choose(None, 4, 100).unwrap(), [0, 1, 2, 3]);
        assert_eq!(choose(None, 32, MOST_VALUES / 3).unwrap(), [0, 15, 31]);
        assert_eq!(choose(None, 32, MOST_VALUES).unwrap(), [31]);
        assert_eq!(choose(Some(&[3, 1, 3]), 4, 100).unwrap(), [1, 3]);
        let told =
            |asked: Option<&[usize]>, values| choose(asked, 4, values).unwrap_err().to_string();
        assert_eq!(
            told(Some(&[4]), 1),
            "layer 4 is not there: the decoder has 4, numbered from 0"
        );
        assert!(told(Some(&[1, 2]), MOST_VALUES).starts_with("2 layers of 4194304 numbers"));
        assert!(told(None, MOST_VALUES + 1).starts_with("0 layers"));
        assert!(told(Some(&[]), 1).starts_with("0 layers"));
    }
}
