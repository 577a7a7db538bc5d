//! Members of a tar archive, one after another, from anything that can be read.
//!
//! The `tar` crate reads the headers; the walk is our own since a walk of that
//! crate borrows its archive, so that it cannot be kept and gone on with, and
//! takes as much memory for a long name as the archive claims.

use std::io::{ErrorKind, Read};

use tar::{EntryType, Header, PaxExtensions};

use super::remote::RemoteError;
use super::sample::SkipReason;

/// Tar cuts everything into blocks.
const BLOCK: usize = 512;

/// Bytes of a long name or of extended attributes: some times the longest path.
const MAX_EXTENSION: u64 = 1 << 16;

/// What the header of a member says.
#[derive(Debug)]
pub(super) struct Member {
    /// Its path in the archive. Never used as a path on this machine.
    pub(super) name: String,
    /// Bytes of its content.
    pub(super) size: u64,
    /// Whether it is a plain file rather than a folder, a link or a device.
    pub(super) is_file: bool,
}

/// Reads forward only, a member at a time.
pub(super) struct TarReader<R> {
    inner: R,
    /// Content of the current member that was not read yet.
    content: u64,
    /// Filling behind it, up to the next block.
    filling: u64,
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            content: 0,
            filling: 0,
        }
    }

    /// The next member; what was not read of the one before is passed over.
    ///
    /// # Errors
    /// If the archive is cut off, damaged, or ends without its blocks of zeros.
    pub(super) fn next(&mut self) -> Result<Option<Member>, SkipReason> {
        let mut long_name = None;
        let mut pax_name = None;
        let mut pax_size = None;
        loop {
            self.pass(self.content + self.filling)?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let kind = header.entry_type();
            let claimed = header.entry_size().map_err(damage)?;
            match kind {
                EntryType::GNULongName => {
                    let mut name = self.extension(claimed)?;
                    // C writes an end after its strings.
                    while name.pop_if(|last| *last == 0).is_some() {}
                    long_name = Some(name);
                }
                EntryType::XHeader => {
                    let pax = self.extension(claimed)?;
                    for field in PaxExtensions::new(&pax) {
                        let field = field.map_err(damage)?;
                        match field.key_bytes() {
                            b"path" => pax_name = Some(field.value_bytes().to_vec()),
                            b"size" => pax_size = Some(number(field.value_bytes())?),
                            _ => {}
                        }
                    }
                }
                EntryType::XGlobalHeader | EntryType::GNULongLink => self.open(claimed)?,
                EntryType::GNUSparse => {
                    return Err(damage(
                        "it holds a sparse file; pack it again without --sparse",
                    ));
                }
                _ => {
                    // GNU's name wins in the `tar` crate too; no writer sets both.
                    let name = long_name.or(pax_name);
                    let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
                    let size = pax_size.unwrap_or(claimed);
                    self.open(size)?;
                    return Ok(Some(Member {
                        name: String::from_utf8_lossy(&name).into_owned(),
                        size,
                        is_file: kind.is_file(),
                    }));
                }
            }
        }
    }

    /// The current member's content. Memory grows with what is there, not with
    /// what the header claims.
    pub(super) fn content(&mut self) -> Result<Vec<u8>, SkipReason> {
        let mut bytes = Vec::new();
        let mut content = self.inner.by_ref().take(self.content);
        let read = content.read_to_end(&mut bytes);
        let read = read.map_err(unreadable)? as u64;
        if read < self.content {
            return Err(cut_off(self.content - read));
        }
        self.content = 0;
        Ok(bytes)
    }

    /// A header, or none at the blocks of zeros that end an archive.
    fn header(&mut self) -> Result<Option<Header>, SkipReason> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => {
                    return Err(damage(
                        "the blocks of zeros that end an archive are missing",
                    ));
                }
                Ok(0) => return Err(damage("it is cut off within a header")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum is the sum of all bytes, its own eight counted as blanks.
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let expected = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
        if header.cksum().ok() != Some(expected) {
            return Err(damage(
                "a header's checksum is wrong; is it a plain, uncompressed tar?",
            ));
        }
        Ok(Some(header))
    }

    /// Sets out to read a member's content.
    fn open(&mut self, size: u64) -> Result<(), SkipReason> {
        let end = size.checked_next_multiple_of(BLOCK as u64);
        let end = end.ok_or_else(|| damage(format!("a member claims {size} bytes")))?;
        self.content = size;
        self.filling = end - size;
        Ok(())
    }

    /// Content that belongs to the headers.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, SkipReason> {
        if size > MAX_EXTENSION {
            return Err(damage(format!("a name or attribute claims {size} bytes")));
        }
        self.open(size)?;
        self.content()
    }

    /// Passes over bytes.
    fn pass(&mut self, bytes: u64) -> Result<(), SkipReason> {
        let mut rest = self.inner.by_ref().take(bytes);
        let passed = std::io::copy(&mut rest, &mut std::io::sink());
        let passed = passed.map_err(unreadable)?;
        // The last member's filling may be missing; then so are the zeros behind it.
        if passed < bytes {
            return Err(cut_off(bytes - passed));
        }
        (self.content, self.filling) = (0, 0);
        Ok(())
    }
}

fn damage(reason: impl ToString) -> SkipReason {
    let reason = reason.to_string();
    SkipReason::Tar { reason }
}

/// The archive may be whole where a store fails.
fn unreadable(error: std::io::Error) -> SkipReason {
    let reason = error.to_string();
    match error.downcast::<RemoteError>() {
        Ok(_) => SkipReason::Remote { reason },
        Err(_) => SkipReason::Tar { reason },
    }
}

fn cut_off(bytes: u64) -> SkipReason {
    damage(format!(
        "it is cut off {bytes} bytes before the end of a member"
    ))
}

fn number(digits: &[u8]) -> Result<u64, SkipReason> {
    let text = String::from_utf8_lossy(digits);
    text.parse()
        .map_err(|_| damage(format!("{text:?} is no size of a member")))
}
