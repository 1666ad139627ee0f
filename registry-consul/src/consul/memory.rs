//! What was last seen of each service, and the verdict on a new answer.

use std::collections::HashMap;

use registry_core::Str;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::Headers;
use super::wire::Instance;

/// What was seen before. It outlives a watch: only against it can a filtered answer be recognised.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was last accepted of each service.
    pub(super) services: HashMap<Str, Seen>,
    /// The catalogue has listed the servers themselves, which are always there: where it does not any more, it is
    /// filtered.
    pub(super) servers_listed: bool,
    /// A listing with the strongest consistency was asked for and is not complete.
    pub(super) strong: bool,
    /// Counts the histories of the servers: another one begins where their index went back.
    pub(super) history: u32,
    /// The leader's last index of the catalogue, and when it came.
    catalog: Option<(u64, Instant)>,
}

impl Memory {
    /// Notes the leader's index of the catalogue, asked for at that time. True where it went back: within one history it
    /// never does, so the server was wiped, restored, or is another one.
    pub(super) fn note_catalog(&mut self, index: u64, started: Instant, now: Instant) -> bool {
        if index == 0 {
            return false;
        }
        // Two requests under way at once may be answered in any order.
        if self
            .catalog
            .is_some_and(|(held, at)| index < held && started < at)
        {
            return false;
        }
        let back = self.catalog.is_some_and(|(held, _)| index < held);
        if back {
            self.history += 1;
        }
        self.catalog = Some((index, now));
        back
    }

    /// All instances that were seen last.
    pub(super) fn instances(&self) -> usize {
        self.services.values().map(|seen| seen.instances).sum()
    }
}

/// The last accepted answer about one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) index: u64,
    pub(super) streaming: bool,
    pub(super) instances: usize,
    /// What tells these instances from any other, sorted.
    pub(super) identities: Box<[u64]>,
    /// The history that its index is of.
    pub(super) history: u32,
    /// Instances vanished since while the index stood still: the token lost its rights to them, and an index that moves
    /// later proves nothing.
    pub(super) filtered: bool,
}

/// What to make of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the truth.
    Accept,
    /// Instances are missing that the server knows; the text says how it shows.
    Filtered(&'static str),
    /// The same, and the token had the rights before: instances vanished while the index stood still.
    Vanished,
    /// It may be a glimpse of a server that is starting or behind: look again before believing it.
    LookAgain,
}

/// Circumstances of an answer about one service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Instances in it.
    pub(super) instances: usize,
    /// The catalogue lists the service.
    pub(super) listed: bool,
    /// The catalogue does not even list the servers any more.
    pub(super) blind: bool,
    /// The server leaves instances out by our own wish.
    pub(super) narrowed: bool,
    /// Requests carry a token.
    pub(super) token: bool,
    /// The answer before this one was looked at again for the same reason.
    pub(super) again: bool,
    /// The same, and the catalogue had the time to say so where the service is gone.
    pub(super) in_time: bool,
    /// The history of the server that answered.
    pub(super) history: u32,
    /// The instances in it were all seen before.
    pub(super) kin: bool,
    /// Of those that were seen last, some are not in it.
    pub(super) missing: bool,
    /// It came over connections that did not break since the service was last read.
    pub(super) unbroken: bool,
}

impl Circumstances {
    /// Whether the answer takes something away that it may have no right to. Instances come and go, and only fewer of them
    /// are a loss; but an index that went back, or another history, says nothing of those that are missing in it, however
    /// many others are there: a server that plays its log shows what was there long ago.
    pub(super) fn is_loss(&self, seen: &Seen, headers: Headers) -> bool {
        let back = seen.streaming == headers.streaming && headers.index < seen.index;
        self.instances < seen.instances || (self.missing && (back || seen.history != self.history))
    }

    /// Whether an index that is equal to the one before can only be the same: where another server may have answered,
    /// its instances have to show that it is of the same history.
    fn is_same_history(&self, seen: &Seen) -> bool {
        seen.history == self.history
            && if self.instances == 0 {
                self.unbroken
            } else {
                self.kin
            }
    }
}

/// What tells an instance from any other, in any history.
pub(super) fn identity(instance: &Instance<'_>) -> u64 {
    let service = &instance.service;
    let text = format!("{}\0{}\0{}", instance.node.node, service.id, service.create_index);
    xxh3_64(text.as_bytes())
}

/// An answer that lost instances while its index did not move is filtered: what takes instances away moves the index.
/// That the index moved proves nothing, it may have been another change: a service that lost all of its instances has to
/// be gone from the catalogue as well.
pub(super) fn judge(seen: Option<&Seen>, headers: Headers, now: Circumstances) -> Verdict {
    let lost = seen.is_some_and(|seen| now.is_loss(seen, headers));
    let denied = headers.filtered || (!now.token && headers.denied_by_default);
    let missing = lost || (now.instances == 0 && now.listed && (!now.narrowed || denied));
    if !missing {
        return Verdict::Accept;
    }
    if headers.filtered {
        return Verdict::Filtered(
            "instances are left out for lack of rights; the token needs service:read and node:read",
        );
    }
    if now.instances == 0 && !now.token && headers.denied_by_default {
        return Verdict::Filtered("there is no token, and without one the server shows nothing");
    }
    let empty_yet_listed = now.instances == 0 && now.listed && !now.narrowed;
    match seen {
        Some(seen)
            if lost
                && headers.index > 0
                && now.is_same_history(seen)
                && seen.streaming == headers.streaming
                && seen.index == headers.index =>
        {
            Verdict::Vanished
        }
        // Deregistered this moment, and the catalogue is about to say so, or the token lacks node:read.
        _ if empty_yet_listed && !now.in_time => Verdict::LookAgain,
        _ if empty_yet_listed => Verdict::Filtered(
            "the catalogue lists the service, yet no instance is shown: the token needs node:read",
        ),
        _ if now.blind => Verdict::Filtered(
            "the catalogue does not list `consul` any more, which is always there: the token lost its rights",
        ),
        // An index that went back is another server's, or that of one which was wiped; without one nothing can be told.
        Some(seen)
            if (headers.index <= seen.index || headers.index == 0 || seen.history != now.history)
                && !now.again =>
        {
            Verdict::LookAgain
        }
        _ => Verdict::Accept,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HEADERS: Headers = Headers {
        index: 20,
        streaming: false,
        filtered: false,
        denied_by_default: false,
        leader: true,
        behind: std::time::Duration::ZERO,
    };

    fn now(instances: usize) -> Circumstances {
        Circumstances {
            instances,
            listed: true,
            blind: false,
            narrowed: false,
            token: true,
            again: false,
            in_time: false,
            history: 0,
            kin: true,
            missing: false,
            unbroken: true,
        }
    }

    #[test]
    fn lost_instances_are_judged_by_the_index() {
        let seen = |index| {
            Some(Seen {
                index,
                streaming: false,
                instances: 5,
                identities: Box::default(),
                history: 0,
                filtered: false,
            })
        };
        let judge = |seen: Option<Seen>, headers: Headers, now: Circumstances| {
            super::judge(seen.as_ref(), headers, now)
        };
        assert_eq!(
            judge(seen(10), HEADERS, now(4)),
            Verdict::Accept,
            "the index moved on"
        );
        assert_eq!(
            judge(seen(10), HEADERS, now(0)),
            Verdict::LookAgain,
            "the index may have moved for another reason while the catalogue still lists it"
        );
        let unlisted = Circumstances {
            listed: false,
            ..now(0)
        };
        assert_eq!(judge(seen(10), HEADERS, unlisted), Verdict::Accept);
        let blind = Circumstances {
            blind: true,
            ..unlisted
        };
        assert!(
            matches!(judge(seen(10), HEADERS, blind), Verdict::Filtered(_)),
            "with the servers gone from the catalogue no loss is believed"
        );
        assert_eq!(
            judge(seen(20), HEADERS, now(4)),
            Verdict::Vanished,
            "the index stood still"
        );
        assert_eq!(judge(seen(20), HEADERS, now(0)), Verdict::Vanished);
        let another = Circumstances { history: 1, ..now(4) };
        assert_eq!(
            judge(seen(20), HEADERS, another),
            Verdict::LookAgain,
            "equal indexes of two histories are chance"
        );
        let stranger = Circumstances { kin: false, ..now(4) };
        assert_eq!(
            judge(seen(20), HEADERS, stranger),
            Verdict::LookAgain,
            "an instance that is new at the same index is of another history"
        );
        let broken = Circumstances {
            unbroken: false,
            listed: false,
            ..now(0)
        };
        assert_eq!(judge(seen(20), HEADERS, broken), Verdict::LookAgain);
        assert_eq!(
            judge(seen(30), HEADERS, now(0)),
            Verdict::LookAgain,
            "the index went back"
        );
        assert_eq!(
            judge(
                seen(30),
                HEADERS,
                Circumstances {
                    again: true,
                    ..unlisted
                }
            ),
            Verdict::Accept
        );
        let without = Headers { index: 0, ..HEADERS };
        assert_eq!(
            judge(seen(0), without, now(4)),
            Verdict::LookAgain,
            "there is no index"
        );
        let again = Circumstances {
            again: true,
            ..now(4)
        };
        assert_eq!(judge(seen(0), without, again), Verdict::Accept);
        assert_eq!(
            judge(seen(20), HEADERS, now(6)),
            Verdict::Accept,
            "gains are believed"
        );
        let streaming = Headers {
            streaming: true,
            ..HEADERS
        };
        assert_ne!(
            judge(seen(20), streaming, now(4)),
            Verdict::Vanished,
            "indexes of the two backends cannot be compared"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_catalogue_whose_index_went_back_is_of_another_history() {
        let mut memory = Memory::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert!(!memory.note_catalog(20, start, start + second));
        assert!(
            !memory.note_catalog(18, start, start + 2 * second),
            "asked before that answer came: overtaken on the way"
        );
        assert!(!memory.note_catalog(0, start + 2 * second, start + 3 * second));
        assert!(!memory.note_catalog(20, start + 3 * second, start + 4 * second));
        assert!(memory.note_catalog(5, start + 5 * second, start + 6 * second));
        assert!(!memory.note_catalog(6, start + 7 * second, start + 8 * second));
        assert_eq!(memory.history, 1);
    }

    #[test]
    fn headers_that_admit_it_are_believed() {
        let filtered = Headers {
            filtered: true,
            ..HEADERS
        };
        assert!(matches!(judge(None, filtered, now(0)), Verdict::Filtered(_)));
        assert_eq!(
            judge(None, filtered, now(3)),
            Verdict::Accept,
            "what is seen for the first time is kept"
        );
        let narrowed = Circumstances {
            narrowed: true,
            ..now(0)
        };
        assert!(
            matches!(judge(None, filtered, narrowed), Verdict::Filtered(_)),
            "our own filter is no excuse"
        );
        let denied = Headers {
            denied_by_default: true,
            ..HEADERS
        };
        let anonymous = Circumstances {
            token: false,
            ..now(0)
        };
        assert!(matches!(judge(None, denied, anonymous), Verdict::Filtered(_)));
    }

    #[test]
    fn a_listed_service_without_instances_is_suspicious() {
        assert_eq!(judge(None, HEADERS, now(0)), Verdict::LookAgain);
        assert!(matches!(
            judge(
                None,
                HEADERS,
                Circumstances {
                    again: true,
                    in_time: true,
                    ..now(0)
                }
            ),
            Verdict::Filtered(_)
        ));
        assert_eq!(
            judge(
                None,
                HEADERS,
                Circumstances {
                    again: true,
                    ..now(0)
                }
            ),
            Verdict::LookAgain,
            "the catalogue may still be about to say that it is gone"
        );
        assert_eq!(
            judge(
                None,
                HEADERS,
                Circumstances {
                    narrowed: true,
                    ..now(0)
                }
            ),
            Verdict::Accept
        );
        assert_eq!(
            judge(
                None,
                HEADERS,
                Circumstances {
                    listed: false,
                    ..now(0)
                }
            ),
            Verdict::Accept
        );
    }
}
