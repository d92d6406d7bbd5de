//! A file of sealed pages: a header, then each page with its length and whether it is the last.
//!
//! Each page is bound to the file's name and its place in it, so that none can be left out, put elsewhere or taken
//! from another file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use thiserror::Error;
use webgateway_seal::{SecretKey, UnsealError};

use super::page::Page;

/// What every file begins with.
const MAGIC: &[u8; 7] = b"wgcache";
/// The byte after it: how the rest is written.
const FORMAT: u8 = 1;
/// What a page may take, sealed, in bytes.
pub(super) const MAX_PAGE: usize = 64 * 1024 * 1024;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub(super) enum CacheFileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It begins with something else.
    #[error("it is no cache")]
    Foreign,
    /// It is of a format of another build's.
    #[error("it is written in format {0}, this build reads {FORMAT}")]
    Format(u8),
    /// It ends too early.
    #[error("it is cut off after page {0}")]
    Cut(u64),
    /// A page that another key sealed, or that was changed.
    #[error("page {0}: {1}")]
    Sealed(u64, UnsealError),
    /// A page that says nothing this build can read.
    #[error("page {0} cannot be read")]
    Page(u64),
    /// What it continues is gone.
    #[error("it does not follow what is before it")]
    Gap,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    name: String,
    pages: u64,
    bytes: u64,
}

/// A file that is read.
pub(super) struct Reader<'k> {
    file: BufReader<File>,
    name: String,
    key: &'k SecretKey,
    pages: u64,
}

/// What comes next in a file.
pub(super) enum Next {
    /// A page, and whether it is the last one.
    Page(Page, bool),
    /// Nothing.
    End,
    /// A page that was not written whole.
    Torn,
}

impl Writer {
    /// Makes a file (mode 0600) in place of an older one; its pages are bound to `name`.
    pub(super) fn create(path: &Path, name: String) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut writer = Self { file, name, pages: 0, bytes: 0 };
        writer.write(&[MAGIC.as_slice(), &[FORMAT]].concat())?;
        Ok(writer)
    }

    /// Appends a page.
    pub(super) fn append(&mut self, page: &[u8], last: bool, key: &SecretKey) -> io::Result<()> {
        let name = bound_to(&self.name, self.pages, last);
        let sealed = key.seal(&name, page).map_err(io::Error::other)?;
        let length = u32::try_from(sealed.len()).ok().filter(|_| sealed.len() <= MAX_PAGE);
        let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
        self.pages += 1;
        self.write(&[length.to_be_bytes().as_slice(), &[u8::from(last)], &sealed].concat())
    }

    /// Waits until all of it is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

impl<'k> Reader<'k> {
    /// Opens a file whose pages are bound to `name`.
    pub(super) fn open(path: &Path, name: String, key: &'k SecretKey) -> Result<Self, CacheFileError> {
        let mut file = BufReader::new(File::open(path)?);
        let mut header = [0; MAGIC.len() + 1];
        if fill(&mut file, &mut header)? < header.len() {
            return Err(CacheFileError::Foreign);
        }
        match header.split_last() {
            Some((&FORMAT, magic)) if magic == MAGIC => Ok(Self { file, name, key, pages: 0 }),
            Some((&format, magic)) if magic == MAGIC => Err(CacheFileError::Format(format)),
            Some(_) | None => Err(CacheFileError::Foreign),
        }
    }

    /// How many pages were read.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// The next page. After a crash of the machine a file may end in zeros.
    pub(super) fn next(&mut self) -> Result<Next, CacheFileError> {
        let mut head = [0; 5];
        match fill(&mut self.file, &mut head)? {
            0 => return Ok(Next::End),
            read if read < head.len() => return Ok(Next::Torn),
            _ => {}
        }
        let [a, b, c, d, last] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length == 0 && last == 0 && self.is_blank()? {
            return Ok(Next::Torn);
        }
        if length == 0 || length > MAX_PAGE {
            return Err(CacheFileError::Page(self.pages));
        }
        let mut sealed = vec![0; length];
        if fill(&mut self.file, &mut sealed)? < length {
            return Ok(Next::Torn);
        }
        let name = bound_to(&self.name, self.pages, last == 1);
        let page = self.key.open(&name, &sealed).map_err(|why| CacheFileError::Sealed(self.pages, why))?;
        self.pages += 1;
        Ok(Next::Page(page, last == 1))
    }

    fn is_blank(&mut self) -> io::Result<bool> {
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

fn bound_to(file: &str, page: u64, last: bool) -> String {
    format!("cache {file} {page} {last}")
}

/// Reads until `bytes` is full or the file ends; says how much there was.
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
        let mut reader = Reader::open(path, name.into(), key)?;
        let mut pages = Vec::new();
        loop {
            match reader.next()? {
                Next::Page(page, _) => pages.push(page.to_vec()),
                Next::End => return Ok((pages, false)),
                Next::Torn => return Ok((pages, true)),
            }
        }
    }

    fn written(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("journal");
        let mut writer = Writer::create(&path, "journal 1".into()).unwrap();
        writer.append(b"one", false, &key(1)).unwrap();
        writer.append(b"two", true, &key(1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), writer.bytes());
        path
    }

    #[test]
    fn pages_come_back_under_their_own_name_and_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        assert_eq!(
            read(&path, "journal 1", &key(1)).unwrap(),
            (vec![b"one".to_vec(), b"two".to_vec()], false)
        );
        assert!(matches!(read(&path, "journal 2", &key(1)), Err(CacheFileError::Sealed(0, _))));
        assert!(matches!(read(&path, "journal 1", &key(2)), Err(CacheFileError::Sealed(0, _))));
    }

    #[test]
    fn every_flipped_byte_is_noticed_and_every_cut_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let first = whole.len() - (5 + 1 + 12 + 3 + 16);
        for i in 0..whole.len() {
            let mut changed = whole.clone();
            changed[i] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let refused = read(&path, "journal 1", &key(1));
            // A length that now reaches beyond the end looks like a page not written whole.
            assert!(refused.is_err() || refused.is_ok_and(|(_, torn)| torn), "byte {i}");
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
                    assert!(i < 8 && matches!(error, CacheFileError::Foreign), "cut at {i}: {error}")
                }
            }
        }
        std::fs::write(&path, [&whole[..first], &[0; 9000]].concat()).unwrap();
        assert_eq!(read(&path, "journal 1", &key(1)).unwrap(), (vec![b"one".to_vec()], true));
    }

    #[test]
    fn a_newer_format_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot");
        std::fs::write(&path, b"wgcache\x02").unwrap();
        let error = read(&path, "x", &key(1)).unwrap_err();
        assert_eq!(error.to_string(), "it is written in format 2, this build reads 1");
    }
}
