//! The funnel: documents read, documents dropped by each rule, documents kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Masked;

/// Documents and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Documents.
    pub documents: u64,
    /// Bytes of their text.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.documents += 1;
        self.bytes += bytes;
    }
}

/// The funnel of one source. Documents read = kept + dropped by each rule; unreadable records count as read, with no
/// bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funnel {
    /// All records.
    pub documents_in: u64,
    /// Bytes of their text.
    pub bytes_in: u64,
    /// Documents kept.
    pub kept: Tally,
    /// Documents dropped, by rule.
    pub dropped: BTreeMap<String, Tally>,
    /// Masked e-mail addresses, IPv4 addresses, telephone numbers and identity numbers.
    pub masked: [u64; 4],
    /// Bytes of the source's files, unpacked.
    pub bytes_read: u64,
}

impl Funnel {
    /// Counts a document that is kept so far.
    pub fn keep(&mut self, bytes: u64, masked: Masked) {
        self.documents_in += 1;
        self.bytes_in += bytes;
        self.kept.add(bytes);
        for (sum, n) in self.masked.iter_mut().zip([masked.emails, masked.addresses, masked.phones, masked.identities])
        {
            *sum += n;
        }
    }

    /// Counts a document that is dropped.
    pub fn drop_new(&mut self, rule: &str, bytes: u64) {
        self.documents_in += 1;
        self.bytes_in += bytes;
        self.dropped.entry(rule.to_owned()).or_default().add(bytes);
    }

    /// Moves a document from kept to dropped.
    pub fn drop_kept(&mut self, rule: &str, bytes: u64) {
        self.kept.documents -= 1;
        self.kept.bytes -= bytes;
        self.dropped.entry(rule.to_owned()).or_default().add(bytes);
    }

    /// Adds the funnel of another source.
    pub fn merge(&mut self, other: &Funnel) {
        self.documents_in += other.documents_in;
        self.bytes_in += other.bytes_in;
        self.bytes_read += other.bytes_read;
        self.kept.documents += other.kept.documents;
        self.kept.bytes += other.kept.bytes;
        for (rule, tally) in &other.dropped {
            let sum = self.dropped.entry(rule.clone()).or_default();
            sum.documents += tally.documents;
            sum.bytes += tally.bytes;
        }
        for (sum, n) in self.masked.iter_mut().zip(other.masked) {
            *sum += n;
        }
    }
}
