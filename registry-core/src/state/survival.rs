//! How a shard survives what it is told: implausible losses are held back until they are confirmed, and what is held
//! is compared with complete knowledge from time to time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Back, Entry};
use super::ledger::Ledger;
use super::{Change, RegistryState};
use crate::endpoint_set::EndpointSet;
use crate::error::RegistryError;
use crate::event::Scope;
use crate::model::{Endpoint, ServiceId, ServiceRecord};
use crate::options::Guard;
use crate::registry::{Resync, Taken, Wish};
use crate::text::Str;

/// How many services a log line or a status names at most.
const NAMED: usize = 100;

/// A registry is asked to confirm losses no more often than this: the hold time, but within these bounds.
const PAUSE: Range<Duration> = Duration::from_secs(1)..Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Survival {
    ledger: Ledger,
    /// Endpoints of all services, with those that are held back.
    total: usize,
    /// Losses count: something was known before.
    counting: bool,
    /// What the first complete knowledge of a new backend lacks is no loss.
    forgiving: bool,
    /// What is held was said by another target than the present one, or may have been.
    foreign: bool,
    /// Services that changed since the last publication, as they were before. What was announced to go is not in it.
    changed: HashMap<ServiceId, ServiceRecord>,
    /// Services of which something is held back, and since when at the earliest.
    held: BTreeSet<ServiceId>,
    /// How many of these the registry does not list at all.
    unlisted: usize,
    since: Option<Instant>,
    /// Something came or went since losses were last judged.
    unsettled: bool,
    /// The session has given complete knowledge.
    listed: bool,
    /// Complete knowledge that may confirm a loss and was asked for, while there is no answer.
    asked: Option<Ask>,
    /// When the session was last asked for that, answered or not.
    last_asked: Option<Instant>,
    /// When the next comparison is due, and whether the watch has taken the wish for the one under way.
    compare: Option<Instant>,
    comparing: Option<Taken>,
    comparisons: u64,
    repaired: u64,
    wishes: Vec<Wish>,
}

/// Complete knowledge that may confirm a loss, first asked for at that time. Asking again for want of an answer changes
/// neither the time nor the mark: a registry that takes long to answer may have been at it since.
#[derive(Debug)]
struct Ask {
    at: Instant,
    taken: Taken,
}

/// What a listing answers, which is settled when it begins: what was read before the watch took the wish may not know
/// what happened since.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer {
    /// Losses that were held back for long enough by that time.
    confirms: Option<Instant>,
    compares: bool,
}

/// What is held back of a registry, for its status.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) endpoints: usize,
    pub(crate) services: usize,
    pub(crate) names: Vec<ServiceId>,
    pub(crate) since: Instant,
    /// `None` where that is beyond any clock.
    pub(crate) due: Option<Instant>,
}

impl Survival {
    /// Notes that this took the place of that.
    pub(super) fn note(
        &mut self,
        id: &ServiceId,
        last: Option<&Entry>,
        next: Option<&Entry>,
        explicit: bool,
        guard: Option<&Guard>,
        now: Instant,
    ) {
        let size = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.record().endpoints().len());
        let (before, after) = (size(last), size(next));
        self.total = self.total + after - before;
        let held = next
            .and_then(Entry::back)
            .map_or(0, |back| back.endpoints().len());
        if held > 0 {
            self.held.insert(id.clone());
        } else if !self.held.is_empty() {
            self.held.remove(id);
        }
        if self.held.is_empty() {
            self.since = None;
        }
        let unlisted =
            |entry: Option<&Entry>| usize::from(entry.is_some_and(|entry| entry.delivered().is_none()));
        self.unlisted = self.unlisted + unlisted(next) - unlisted(last);
        // Also while the guard is off: it may be on again before what is held was let go.
        let gone = before.saturating_sub(after);
        self.unsettled |= self.ledger.hold(id, held, after - held, gone);
        let Some(guard) = guard.filter(|_| self.counting) else {
            return;
        };
        match last {
            Some(last) if explicit => self.believe(id, last, next),
            // Also where nothing was lost: what takes the place of others may go before anybody saw it.
            Some(last) if !self.changed.contains_key(id) => {
                self.changed.insert(id.clone(), last.record().clone());
            }
            _ => {}
        }
        if after == before || (explicit && after < before) {
            return;
        }
        self.unsettled = true;
        #[allow(clippy::cast_possible_wrap, reason = "far fewer endpoints than 2^63")]
        let change = after as i64 - before as i64;
        self.ledger.record(id, change, now, guard.window);
    }

    /// What went with this step is gone for good, also where another loss of the service is judged later on.
    fn believe(&mut self, id: &ServiceId, last: &Entry, next: Option<&Entry>) {
        let Some(before) = self.changed.get_mut(id) else {
            return;
        };
        let nothing = EndpointSet::default();
        let next = next.map_or(&nothing, |next| next.record().endpoints());
        let last = last.record().endpoints();
        let mut left = before.endpoints().clone();
        for place in last.changed_places(next) {
            for endpoint in last.at_address_of(place) {
                if next.get(endpoint).is_none() {
                    left.remove(endpoint);
                }
            }
        }
        *before = ServiceRecord::new(before.meta().clone(), left);
    }

    /// The registry announced that the service is gone.
    pub(super) fn believe_all(&mut self, id: &ServiceId) {
        self.changed.remove(id);
    }

    /// The registry announced that these endpoints were removed, after they had gone without a word. Until a loss was
    /// judged, it is as if that had come first.
    fn believe_these(
        &mut self,
        id: &ServiceId,
        gone: &HashSet<&str>,
        known: Option<&EndpointSet>,
        guard: &Guard,
        now: Instant,
    ) {
        let Some(before) = self.changed.get_mut(id) else {
            return;
        };
        let mut left = before.endpoints().clone();
        for endpoint in before.endpoints().iter() {
            if gone.contains(endpoint.id()) && known.is_none_or(|known| known.get(endpoint).is_none()) {
                left.remove(endpoint);
            }
        }
        #[allow(clippy::cast_possible_wrap, reason = "far fewer endpoints than 2^63")]
        let believed = (before.endpoints().len() - left.len()) as i64;
        *before = ServiceRecord::new(before.meta().clone(), left);
        self.ledger.record(id, believed, now, guard.window);
    }

    /// What there is now is what losses are measured by.
    pub(super) fn forget_losses(&mut self) {
        self.ledger.reset();
        self.changed.clear();
    }

    /// What was lost until now is published.
    pub(super) fn published(&mut self) {
        self.changed.clear();
    }

    /// The watch ended: what was asked of it will not be answered, and the next one begins with a listing that nobody
    /// asked for.
    pub(super) fn session_ended(&mut self) {
        self.listed = false;
        self.asked = None;
        self.last_asked = None;
        self.comparing = None;
    }

    /// What the next complete knowledge lacks is no loss: it comes from another backend.
    pub(super) fn forgive(&mut self, same_target: bool) {
        self.forgiving = true;
        self.foreign |= !same_target;
    }

    /// Other settings: what is held is judged anew by them.
    pub(super) fn reconfigured(&mut self, compare_is_same: bool) {
        self.unsettled = true;
        if !compare_is_same {
            self.compare = None;
        }
    }

    /// True where what is held may be kept for a later start: it is what this target said, whatever the settings were
    /// with which it was asked.
    pub(super) fn is_of_target(&self) -> bool {
        !self.foreign
    }

    /// What a listing of the whole registry answers that begins now.
    pub(super) fn answer(&self) -> Answer {
        let asked = self.asked.as_ref().filter(|asked| asked.taken.is_set());
        Answer {
            confirms: asked.map(|asked| asked.at),
            compares: self.comparing.as_ref().is_some_and(Taken::is_set),
        }
    }

    /// How many services there are of which the registry lists nothing.
    pub(super) fn unlisted(&self) -> usize {
        self.unlisted
    }

    pub(super) fn comparisons(&self) -> (u64, u64) {
        (self.comparisons, self.repaired)
    }
}

impl RegistryState {
    /// What was known before this start, to begin with.
    pub(super) fn start_counting(&mut self) {
        self.survival.counting = true;
        self.survival.forget_losses();
    }

    /// Complete knowledge of the whole registry came, by a listing that is the `answer` to this and left these scopes
    /// `unread`. So many services were `different` by it.
    pub(super) fn listed(
        &mut self,
        answer: Answer,
        unread: &[(Scope, Arc<RegistryError>)],
        different: usize,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        self.survival.listed = true;
        if unread.iter().any(|(scope, _)| *scope == Scope::Registry) {
            // Nothing that is missing in it is known to be gone.
            return;
        }
        let is_read = |id: &ServiceId| !unread.iter().any(|(scope, _)| scope.contains(id));
        self.survival.foreign = false;
        if std::mem::take(&mut self.survival.forgiving) {
            self.release(|id, _| is_read(id), true, now, changes);
            self.survival.forget_losses();
        }
        if answer.compares {
            self.survival.comparing = None;
            self.survival.comparisons += 1;
            self.survival.repaired += different as u64;
            if different > 0 {
                tracing::warn!(registry = %self.id, services = different, "a comparison with complete knowledge found services that differed; they are put right");
            }
        }
        // An operator may have let go of everything since it began.
        let asked = answer.confirms.filter(|_| self.survival.asked.is_some());
        if let (Some(asked), Some(guard)) = (asked, self.options.guard) {
            self.survival.asked = None;
            let confirmed = |id: &ServiceId, since: Instant| {
                let for_long = asked
                    .checked_duration_since(since)
                    .is_some_and(|held| held >= guard.hold);
                for_long && is_read(id)
            };
            let gone = self.release(confirmed, true, now, changes);
            if gone > 0 {
                tracing::warn!(registry = %self.id, endpoints = gone, "complete knowledge confirmed the loss of endpoints that were held back; they are gone");
            }
        }
    }

    /// Lets go of everything that is held back.
    pub(crate) fn acknowledge(&mut self, now: Instant, changes: &mut Vec<Change>) -> usize {
        let gone = self.release(|_, _| true, true, now, changes);
        self.survival.forget_losses();
        self.survival.asked = None;
        if gone > 0 {
            tracing::warn!(registry = %self.id, endpoints = gone, "an operator let go of endpoints that were held back");
        }
        self.note();
        gone
    }

    /// Holds back what went and should not be believed yet, lets go of what is plausible by now, and asks the registry
    /// for complete knowledge where it is time to. True where what is held back changed.
    pub(super) fn settle(&mut self, now: Instant, changes: &mut Vec<Change>) -> bool {
        if !self.survival.counting && self.freshness.heard() {
            self.start_counting();
        }
        self.compare(now);
        let Some(guard) = self.options.guard else {
            self.survival.changed.clear();
            return self.release(|_, _| true, true, now, changes) > 0;
        };
        if self.survival.changed.is_empty() && self.survival.held.is_empty() {
            return false;
        }
        let slid = self.survival.ledger.slide(now, guard.window);
        if !std::mem::take(&mut self.survival.unsettled) && !slid {
            self.ask(&guard, now);
            return false;
        }
        let beyond = self.survival.ledger.is_beyond(&guard, self.survival.total);

        let changed = std::mem::take(&mut self.survival.changed);
        let mut held = 0;
        for (id, before) in &changed {
            if self.is_suspicious(id, &guard, beyond) {
                held += self.hold_back(id, before, now, changes);
            }
        }
        self.survival.changed = changed;
        if held > 0 {
            let names: Vec<String> = self
                .survival
                .held
                .iter()
                .take(5)
                .map(ToString::to_string)
                .collect();
            tracing::warn!(
                registry = %self.id,
                endpoints = held,
                of = self.survival.total,
                services = self.survival.held.len(),
                such_as = names.join(", "),
                "so many endpoints went at once that they are held back; they go when complete knowledge confirms it in {:?}, or an operator",
                guard.hold
            );
        }
        let plausible: BTreeSet<ServiceId> = self
            .survival
            .held
            .iter()
            .filter(|id| !self.is_suspicious(id, &guard, beyond))
            .cloned()
            .collect();
        let gone = if plausible.is_empty() {
            0
        } else {
            self.release(|id, _| plausible.contains(id), false, now, changes)
        };
        if gone > 0 {
            tracing::info!(registry = %self.id, endpoints = gone, "the loss of endpoints that were held back is plausible by now; they are gone");
        }
        self.survival.unsettled = false;
        self.survival.since = self.held_since();
        self.ask(&guard, now);
        held + gone > 0
    }

    fn is_suspicious(&self, id: &ServiceId, guard: &Guard, beyond: bool) -> bool {
        let ledger = &self.survival.ledger;
        let total = || {
            self.records
                .get(id)
                .map_or(0, |entry| entry.record().endpoints().len())
        };
        (beyond && ledger.loss_of(id) > 0)
            || (guard.per_service && ledger.service_is_beyond(guard, id, total()))
    }

    /// Brings back what went of a service, marked. Returns how many endpoints.
    fn hold_back(
        &mut self,
        id: &ServiceId,
        before: &ServiceRecord,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> usize {
        let entry = self.records.get(id);
        let known = entry.map(|entry| entry.record().endpoints());
        let mut missing: Vec<(Instant, Arc<Endpoint>)> = before
            .endpoints()
            .iter()
            .filter(|endpoint| known.is_none_or(|known| known.get(endpoint).is_none()))
            .map(|endpoint| (now, Arc::new(endpoint.held_back())))
            .collect();
        let count = missing.len();
        if count == 0 {
            return 0;
        }
        let back = entry.and_then(Entry::back);
        missing.extend(back.iter().flat_map(|back| back.endpoints()).cloned());
        let next = match entry.and_then(Entry::delivered).cloned() {
            Some(delivered) => beside(delivered, missing, before),
            None => alone(missing, before),
        };
        self.replace(id, Some(next), false, now, changes);
        count
    }

    /// Lets go of what is held back where the condition on service and time since when holds. What is `settled` is no
    /// loss any more; the rest counts as one from now on. Returns how many endpoints.
    fn release(
        &mut self,
        condition: impl Fn(&ServiceId, Instant) -> bool,
        settled: bool,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> usize {
        let mut gone = 0;
        for id in self.survival.held.clone() {
            let Some(entry) = self.records.get(&id) else {
                continue;
            };
            let Some(back) = entry.back() else { continue };
            let (go, stay): (Vec<_>, Vec<_>) = back
                .endpoints()
                .iter()
                .cloned()
                .partition(|(since, _)| condition(&id, *since));
            if go.is_empty() {
                continue;
            }
            gone += go.len();
            let next = rest_of(entry, stay);
            self.replace(&id, next, settled, now, changes);
        }
        if gone > 0 {
            self.survival.since = self.held_since();
        }
        gone
    }

    /// The registry announced that these endpoints of a service were removed: what is held back of them goes.
    pub(super) fn let_go(&mut self, id: &ServiceId, gone: &[Str], now: Instant, changes: &mut Vec<Change>) {
        // Nearly always: what was announced had not gone before, or is announced again.
        if !self.survival.changed.contains_key(id) && !self.survival.held.contains(id) {
            return;
        }
        let gone: HashSet<&str> = gone.iter().map(Str::as_str).collect();
        let entry = self.records.get(id);
        if let Some(guard) = &self.options.guard {
            let known = entry.map(|entry| entry.record().endpoints());
            self.survival.believe_these(id, &gone, known, guard, now);
        }
        let Some((entry, back)) = entry.and_then(|entry| Some((entry, entry.back()?))) else {
            return;
        };
        let all = back.endpoints();
        let stay: Vec<_> = all
            .iter()
            .filter(|(_, endpoint)| !gone.contains(endpoint.id()))
            .cloned()
            .collect();
        if stay.len() == all.len() {
            return;
        }
        let next = rest_of(entry, stay);
        self.replace(id, next, true, now, changes);
    }

    /// Asks for complete knowledge that may confirm a loss, once it was held back for long enough.
    fn ask(&mut self, guard: &Guard, now: Instant) {
        let Some(due) = self.confirmation_due() else {
            return;
        };
        if self.survival.listed && due <= now && !self.is_answering() {
            self.survival.last_asked = Some(now);
            let taken = Taken::default();
            let asked = self.survival.asked.get_or_insert(Ask { at: now, taken });
            let taken = asked.taken.clone();
            self.survival.wishes.push(wish(true, taken));
            tracing::info!(registry = %self.id, held = self.survival.ledger.held(), hold = ?guard.hold, "asking for complete knowledge that may confirm the loss of endpoints");
        }
    }

    /// True while the answer is under way: asking again would make the backend read everything once more.
    fn is_answering(&self) -> bool {
        let mut listings = self.listings.iter();
        self.survival.asked.is_some() && listings.any(|listing| listing.answer.confirms.is_some())
    }

    /// When the registry is asked to confirm a loss, for the first time or again.
    fn confirmation_due(&self) -> Option<Instant> {
        let hold = self.options.guard?.hold;
        let since = self.survival.since?;
        let pause = hold.clamp(PAUSE.start, PAUSE.end);
        match self.survival.last_asked {
            // An answer that did not come is asked for again.
            Some(asked) if self.survival.asked.is_some() => asked.checked_add(hold.max(pause)),
            // One that confirmed a part of the loss only, or nothing, is no reason to ask without a pause.
            Some(asked) => Some(since.checked_add(hold)?.max(asked + pause)),
            None => since.checked_add(hold),
        }
    }

    /// Since when something is held back.
    fn held_since(&self) -> Option<Instant> {
        let held = self.survival.held.iter();
        held.filter_map(|id| Some(self.records.get(id)?.back()?.since()))
            .min()
    }

    /// Asks for complete knowledge from time to time, to compare what is held with it.
    fn compare(&mut self, now: Instant) {
        let Some(interval) = self.options.compare.filter(|_| self.survival.listed) else {
            self.survival.compare = None;
            return;
        };
        let next = || now.checked_add(jittered(interval));
        if self.survival.compare.is_none() {
            self.survival.compare = next();
        }
        if self.survival.compare.is_some_and(|due| due <= now) {
            self.survival.compare = next();
            let taken = self.survival.comparing.get_or_insert_default().clone();
            self.survival.wishes.push(wish(false, taken));
        }
    }

    /// Complete knowledge that is wanted of the watch.
    pub(crate) fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.survival.wishes)
    }

    /// When `tick` may next have something to say.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let is_holding = self.survival.since.is_some();
        let guard = self.options.guard.filter(|_| is_holding);
        let slides = guard.and_then(|guard| self.survival.ledger.next_slide(guard.window));
        let own = [self.survival.compare, self.confirmation_due(), slides];
        own.into_iter()
            .flatten()
            .filter(|at| *at > now)
            .chain(self.freshness.deadline(now))
            .min()
    }

    /// What is held back, if anything.
    pub(super) fn holding(&self) -> Option<Holding> {
        let (since, guard) = (self.survival.since?, self.options.guard?);
        Some(Holding {
            endpoints: usize::try_from(self.survival.ledger.held()).unwrap_or_default(),
            services: self.survival.held.len(),
            names: self.survival.held.iter().take(NAMED).cloned().collect(),
            since,
            due: since.checked_add(guard.hold),
        })
    }
}

/// Complete knowledge of the registry, wanted.
fn wish(strong: bool, taken: Taken) -> Wish {
    let scope = Scope::Registry;
    Wish {
        resync: Resync { scope, strong },
        taken,
    }
}

/// What is left of a service where only this is held back of it from now on, if anything.
fn rest_of(entry: &Entry, stay: Vec<(Instant, Arc<Endpoint>)>) -> Option<(ServiceRecord, Option<Box<Back>>)> {
    match entry.delivered().cloned() {
        Some(delivered) => Some(beside(delivered, stay, entry.record())),
        None if stay.is_empty() => None,
        None => Some(alone(stay, entry.record())),
    }
}

/// What the registry says of a service, and beside it what it no longer lists. `last` is what is known of it until now: as
/// long as something of it is held back, nobody serves it by the word that there is nothing.
pub(super) fn beside(
    delivered: ServiceRecord,
    missing: Vec<(Instant, Arc<Endpoint>)>,
    last: &ServiceRecord,
) -> (ServiceRecord, Option<Box<Back>>) {
    let Some(back) = Back::new(Some(delivered.clone()), missing) else {
        return (delivered, None);
    };
    let endpoints = back.beside(delivered.endpoints()).rebased_on(last.endpoints());
    let meta = if delivered.is_of_nothing() {
        last.meta()
    } else {
        delivered.meta()
    };
    (ServiceRecord::new(meta.clone(), endpoints), Some(back))
}

/// A service that the registry does not list any more, and what is held back of it.
pub(super) fn alone(
    missing: Vec<(Instant, Arc<Endpoint>)>,
    last: &ServiceRecord,
) -> (ServiceRecord, Option<Box<Back>>) {
    let back = Back::new(None, missing);
    let endpoints = back
        .as_ref()
        .map_or_else(EndpointSet::default, |back| back.beside(&EndpointSet::default()));
    (ServiceRecord::new(last.meta().clone(), endpoints), back)
}

/// The interval give or take a quarter, so that registries and daemons do not stay in step.
fn jittered(interval: Duration) -> Duration {
    let random = u32::from(RandomState::new().hash_one(0_u8).to_le_bytes()[0]);
    (interval - interval / 4).saturating_add(interval / 2 / 256 * random)
}
