//! A file of encrypted pages: a header, then for each page its length, a flag that marks the last page, and its
//! content.
//!
//! Each page is authenticated together with the name of the file, its number and the flag, so that no page can be
//! removed, moved or copied from another file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use thiserror::Error;
use webgateway_seal::{SecretKey, UnsealError};

use super::page::Page;

/// The first bytes of every file.
const MAGIC: &[u8; 7] = b"wgcache";
/// The version of the file format, in the byte after the magic ones.
const FORMAT: u8 = 1;
/// The maximum size of an encrypted page, in bytes.
pub(super) const MAX_PAGE: usize = 64 * 1024 * 1024;

/// A file of the cache cannot be used.
#[derive(Debug, Error)]
pub(super) enum CacheFileError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file does not begin with the magic bytes.
    #[error("the file is not a cache")]
    Magic,
    /// The file has a format that this build does not support.
    #[error("the file has format {0}, this build reads format {FORMAT}")]
    Format(u8),
    /// The file ends before its last page, after this number of pages.
    #[error("the file is cut off after page {0}")]
    Truncated(u64),
    /// A page was encrypted with another key, or has been modified.
    #[error("page {0}: {1}")]
    Unseal(u64, UnsealError),
    /// A page is malformed.
    #[error("page {0} is malformed")]
    Page(u64),
    /// The journal before this one is missing.
    #[error("the journal before this one is missing")]
    Gap,
}

/// A writer of one file.
#[derive(Debug)]
pub(super) struct SealedWriter {
    file: File,
    name: String,
    pages: u64,
    bytes: u64,
}

/// A reader of one file.
pub(super) struct SealedReader<'k> {
    file: BufReader<File>,
    name: String,
    key: &'k SecretKey,
    pages: u64,
}

/// The result of reading the next page.
pub(super) enum NextPage {
    /// A page, and true if it is the last one.
    Page(Page, bool),
    /// The end of the file.
    End,
    /// A page that was not written completely.
    Torn,
}

impl SealedWriter {
    /// Creates a file (mode 0600) or truncates an existing one; its pages are bound to `name`.
    pub(super) fn create(path: &Path, name: String) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut writer = Self { file, name, pages: 0, bytes: 0 };
        writer.write(&[MAGIC.as_slice(), &[FORMAT]].concat())?;
        Ok(writer)
    }

    /// Appends a page.
    pub(super) fn append(&mut self, page: &[u8], last: bool, key: &SecretKey) -> io::Result<()> {
        let context = page_context(&self.name, self.pages, last);
        let sealed = key.seal(&context, page).map_err(io::Error::other)?;
        let length = u32::try_from(sealed.len()).ok().filter(|_| sealed.len() <= MAX_PAGE);
        let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
        self.pages += 1;
        self.write(&[length.to_be_bytes().as_slice(), &[u8::from(last)], &sealed].concat())
    }

    /// Waits until the pages are on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Returns the size of the file, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

impl<'k> SealedReader<'k> {
    /// Opens a file whose pages are bound to `name`.
    pub(super) fn open(path: &Path, name: String, key: &'k SecretKey) -> Result<Self, CacheFileError> {
        let mut file = BufReader::new(File::open(path)?);
        let mut header = [0; MAGIC.len() + 1];
        if fill(&mut file, &mut header)? < header.len() {
            return Err(CacheFileError::Magic);
        }
        match header.split_last() {
            Some((&FORMAT, magic)) if magic == MAGIC => Ok(Self { file, name, key, pages: 0 }),
            Some((&format, magic)) if magic == MAGIC => Err(CacheFileError::Format(format)),
            Some(_) | None => Err(CacheFileError::Magic),
        }
    }

    /// Returns the number of pages read so far.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Reads the next page. Zeros up to the end of the file count as a torn page: a crash of the machine may leave
    /// them.
    pub(super) fn next(&mut self) -> Result<NextPage, CacheFileError> {
        let mut head = [0; 5];
        match fill(&mut self.file, &mut head)? {
            0 => return Ok(NextPage::End),
            read if read < head.len() => return Ok(NextPage::Torn),
            _ => {}
        }
        let [a, b, c, d, last] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length == 0 && last == 0 && self.is_rest_zero()? {
            return Ok(NextPage::Torn);
        }
        if length == 0 || length > MAX_PAGE {
            return Err(CacheFileError::Page(self.pages));
        }
        let mut sealed = vec![0; length];
        if fill(&mut self.file, &mut sealed)? < length {
            return Ok(NextPage::Torn);
        }
        let context = page_context(&self.name, self.pages, last == 1);
        let page =
            self.key.open(&context, &sealed).map_err(|error| CacheFileError::Unseal(self.pages, error))?;
        self.pages += 1;
        Ok(NextPage::Page(page, last == 1))
    }

    fn is_rest_zero(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        loop {
            match fill(&mut self.file, &mut bytes)? {
                0 => return Ok(true),
                read if bytes.iter().take(read).any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }
}

fn page_context(file: &str, page: u64, last: bool) -> String {
    format!("cache {file} {page} {last}")
}

/// Reads until `bytes` is full or the file ends; returns the number of bytes read.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::new(&[byte; 32]).unwrap()
    }

    fn read(path: &Path, name: &str, key: &SecretKey) -> Result<(Vec<Vec<u8>>, bool), CacheFileError> {
        let mut reader = SealedReader::open(path, name.into(), key)?;
        let mut pages = Vec::new();
        loop {
            match reader.next()? {
                NextPage::Page(page, _) => pages.push(page.to_vec()),
                NextPage::End => return Ok((pages, false)),
                NextPage::Torn => return Ok((pages, true)),
            }
        }
    }

    fn write_two_pages(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("journal");
        let mut writer = SealedWriter::create(&path, "journal 1".into()).unwrap();
        writer.append(b"one", false, &key(1)).unwrap();
        writer.append(b"two", true, &key(1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), writer.bytes());
        path
    }

    #[test]
    fn pages_are_read_with_the_right_name_and_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_two_pages(dir.path());
        assert_eq!(
            read(&path, "journal 1", &key(1)).unwrap(),
            (vec![b"one".to_vec(), b"two".to_vec()], false)
        );
        assert!(matches!(read(&path, "journal 2", &key(1)), Err(CacheFileError::Unseal(0, _))));
        assert!(matches!(read(&path, "journal 1", &key(2)), Err(CacheFileError::Unseal(0, _))));
    }

    #[test]
    fn a_flipped_bit_is_an_error_and_a_truncated_page_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_two_pages(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let first = whole.len() - (5 + 1 + 12 + 3 + 16);
        for i in 0..whole.len() {
            let mut changed = whole.clone();
            changed[i] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let result = read(&path, "journal 1", &key(1));
            // With a length beyond the end of the file the page counts as torn.
            assert!(result.is_err() || result.is_ok_and(|(_, torn)| torn), "byte {i}");
            std::fs::write(&path, &whole[..i]).unwrap();
            match read(&path, "journal 1", &key(1)) {
                Ok((pages, torn)) => {
                    assert_eq!(
                        (pages.len(), torn),
                        (usize::from(i >= first), i != first && i != 8),
                        "cut at {i}"
                    );
                }
                Err(error) => {
                    assert!(i < 8 && matches!(error, CacheFileError::Magic), "cut at {i}: {error}")
                }
            }
        }
        std::fs::write(&path, [&whole[..first], &[0; 9000]].concat()).unwrap();
        assert_eq!(read(&path, "journal 1", &key(1)).unwrap(), (vec![b"one".to_vec()], true));
    }

    #[test]
    fn the_error_about_another_format_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot");
        std::fs::write(&path, b"wgcache\x02").unwrap();
        let error = read(&path, "x", &key(1)).unwrap_err();
        assert_eq!(error.to_string(), "the file has format 2, this build reads format 1");
    }
}
