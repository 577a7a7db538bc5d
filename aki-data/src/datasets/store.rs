//! Records in memory: one run of bytes, since millions of small texts cost more than they hold.

use super::draft::{Content, Draft};
use super::record::Region;
use crate::text::{Message, Role};

/// Drafts with their keys. Texts are their length and their UTF-8, numbers seven bits a byte.
#[derive(Debug, Default)]
pub(super) struct Store {
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
}

const SHORT: u8 = 0;
const CHOICE: u8 = 1;
const REGION: u8 = 2;
const CONVERSATION: u8 = 3;

impl Store {
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<usize>()
    }

    /// As FNV-1a, but 8 bytes at a time: 0.2 s a gigabyte. What is above is folded into what is
    /// below, where multiplying brings nothing.
    pub(super) fn fingerprint(&self) -> u64 {
        let mix = |hash: u64, word: u64| {
            let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^ (hash >> 32)
        };
        let (words, rest) = self.bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let words = words.iter().chain([&last]).copied().map(u64::from_le_bytes);
        // Bytes that are 0 at the end count too.
        words.fold(mix(0, self.bytes.len() as u64), mix)
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    pub(super) fn push(&mut self, key: &str, draft: &Draft) {
        self.starts.push(self.bytes.len());
        self.text(key);
        self.texts(&draft.images);
        match &draft.content {
            Content::Short { question, answer } => {
                self.bytes.push(SHORT);
                self.text(question);
                self.text(answer);
            }
            Content::Choice {
                question,
                context,
                options,
                right,
            } => {
                self.bytes.push(CHOICE);
                self.text(question);
                self.texts(context.as_slice());
                self.texts(options);
                self.number(*right);
            }
            Content::Region { region, phrase } => {
                self.bytes.push(REGION);
                for corner in [region.x1, region.y1, region.x2, region.y2] {
                    self.bytes.extend(corner.to_le_bytes());
                }
                self.text(phrase);
            }
            Content::Conversation(messages) => {
                self.bytes.push(CONVERSATION);
                self.number(messages.len());
                for message in messages {
                    self.bytes.push(match message.role {
                        Role::System => 0,
                        Role::User => 1,
                        Role::Assistant => 2,
                    });
                    self.number(message.pictures);
                    self.text(&message.text);
                }
            }
        }
    }

    /// Key and draft.
    ///
    /// # Panics
    /// If there are not so many.
    pub(super) fn get(&self, index: usize) -> (String, Draft) {
        let mut reader = Reader(&self.bytes[self.starts[index]..]);
        let key = reader.text();
        let images = reader.texts();
        let content = match reader.byte() {
            SHORT => Content::Short {
                question: reader.text(),
                answer: reader.text(),
            },
            CHOICE => Content::Choice {
                question: reader.text(),
                context: reader.texts().pop(),
                options: reader.texts(),
                right: reader.number(),
            },
            REGION => {
                let [x1, y1, x2, y2] = [(); 4].map(|()| f64::from_le_bytes(reader.array()));
                Content::Region {
                    region: Region { x1, y1, x2, y2 },
                    phrase: reader.text(),
                }
            }
            _ => {
                let count = reader.number();
                Content::Conversation((0..count).map(|_| reader.message()).collect())
            }
        };
        (key, Draft { images, content })
    }

    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.number(texts.len());
        for text in texts {
            self.text(text);
        }
    }
}

/// Reads what [`Store::push`] wrote.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("written whole");
        self.0 = rest;
        *head
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= (byte as usize & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }

    fn text(&mut self) -> String {
        let len = self.number();
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8(text.to_vec()).expect("written from a text")
    }

    fn texts(&mut self) -> Vec<String> {
        let count = self.number();
        (0..count).map(|_| self.text()).collect()
    }

    fn message(&mut self) -> Message {
        let role = match self.byte() {
            0 => Role::System,
            1 => Role::User,
            _ => Role::Assistant,
        };
        let pictures = self.number();
        Message {
            role,
            pictures,
            text: self.text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content() -> impl Strategy<Value = Content> {
        let message =
            (0..3_usize, any::<usize>(), ".{0,200}").prop_map(|(role, pictures, text)| Message {
                role: [Role::System, Role::User, Role::Assistant][role],
                pictures,
                text,
            });
        let texts = || prop::collection::vec(".{0,9}", 0..5);
        prop_oneof![
            (".*", ".*").prop_map(|(question, answer)| Content::Short { question, answer }),
            (".*", prop::option::of(".*"), texts(), any::<usize>()).prop_map(
                |(question, context, options, right)| Content::Choice {
                    question,
                    context,
                    options,
                    right
                }
            ),
            (prop::array::uniform4(-1e9..1e9_f64), ".*").prop_map(|([x1, y1, x2, y2], phrase)| {
                let region = Region { x1, y1, x2, y2 };
                Content::Region { region, phrase }
            }),
            prop::collection::vec(message, 0..4).prop_map(Content::Conversation),
        ]
    }

    proptest! {
        #[test]
        fn any_change_is_another_fingerprint(
            bytes in prop::collection::vec(any::<u8>(), 1..40), at: prop::sample::Index,
            flipped in 1..=u8::MAX,
        ) {
            let store = |bytes: &[u8]| Store { bytes: bytes.to_vec(), starts: Vec::new() };
            let mut other = bytes.clone();
            other[at.index(bytes.len())] ^= flipped;
            let longer = [&bytes[..], &[0]].concat();
            let print = store(&bytes).fingerprint();
            prop_assert_eq!(print, store(&bytes).fingerprint());
            prop_assert_ne!(print, store(&other).fingerprint());
            prop_assert_ne!(print, store(&longer).fingerprint());
        }

        #[test]
        fn what_goes_in_comes_out(
            drafts in prop::collection::vec(
                (".*", prop::collection::vec(".{0,9}", 0..3), content()), 0..4,
            ),
        ) {
            let mut store = Store::default();
            let drafts: Vec<_> = drafts
                .into_iter()
                .map(|(key, images, content)| (key, Draft { images, content }))
                .collect();
            for (key, draft) in &drafts {
                store.push(key, draft);
            }
            prop_assert_eq!(store.len(), drafts.len());
            for (index, draft) in drafts.iter().enumerate() {
                prop_assert_eq!(&store.get(index), draft);
            }
        }
    }
}
