//! From what the origin said and what the route wants to what the answer says.

use super::directives::{Directives, Scope};
use super::origin::Origin;
use super::rule::{Keep, Mode, Profile, Rule, Wish};
use super::{Asked, field, status, targeted, vary};
use crate::head::{Edit, ResponseHead};
use crate::time::UnixTime;
use crate::trace::Trace;

/// The longest that Cloud CDN serves a stale answer, in seconds.
pub const CLOUD_CDN_STALE: u32 = 604_800;

impl Rule {
    /// The edits that make an answer's head say what the rule, the origin and the safety rules
    /// agree on. Applied to the edited answer it gives none.
    pub fn decide(
        &self,
        asked: &Asked,
        answer: &ResponseHead,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Vec<Edit> {
        let wish = self.wish(asked, answer);
        trace.note("hints", || covering(wish));
        let keep = self.keep(wish, asked, answer, trace);
        let mut edits = Vec::new();
        // Most answers of most policies need nothing, and then nothing of theirs is read.
        if wish.is_some() || keep != Keep::Any || self.cache_status.is_some() {
            edits = self.hints(wish, keep, asked, (answer, now), trace);
        }
        if asked.is_retrieval() {
            edits.extend(vary::merge(answer, &self.vary));
        }
        trace.note("hints", || summary(&edits));
        edits
    }

    /// The edits of the fields that say who may keep the answer and how long.
    fn hints(
        &self,
        wish: Option<&Wish>,
        keep: Keep,
        asked: &Asked,
        (answer, now): (&ResponseHead, UnixTime),
        trace: &mut Trace,
    ) -> Vec<Edit> {
        let mut hints = Hints::new(answer, now);
        hints.touched = wish.is_some();
        hints.limit(keep);
        if let Some(wish) = wish {
            self.fulfil(wish, keep, asked, &mut hints, trace);
        }
        if asked.has_credentials() {
            hints.share();
        }
        self.part_with_cookies(&mut hints, trace);
        if asked.own_key && wish.is_some_and(|wish| wish.keep == Keep::Any) {
            hints.open_to_own_cache();
        }
        if wish.is_some() {
            self.suit_the_cache_in_front(&mut hints);
        }
        let mut edits = hints.edits(wish);
        if wish.is_some() {
            edits.extend(self.no_vary_search_edit(answer));
            edits.extend(self.tags.edits(answer, &asked.parameters));
        }
        if let Some(name) = &self.cache_status {
            edits.extend(status::edit(
                name,
                asked,
                answer,
                &hints.origin,
                &hints.said,
            ));
        }
        edits
    }

    /// Who may keep the answer, by the route's word and by the safety rules.
    fn keep(
        &self,
        wish: Option<&Wish>,
        asked: &Asked,
        answer: &ResponseHead,
        trace: &mut Trace,
    ) -> Keep {
        let covered = wish.is_some();
        if self.profile == Profile::EnvoyCache && answer.status() == Some(206) {
            trace.note("hints", || {
                "Envoy's cache would answer whole requests with this part".into()
            });
            return Keep::Nobody;
        }
        if wish.is_some_and(|wish| wish.keep == Keep::Nobody) {
            return Keep::Nobody;
        }
        let shared = self.shared && covered && !about_the_asker(answer);
        if asked.has_credentials() && !shared {
            trace.note("hints", || {
                "the request carried credentials, so no shared cache may keep the answer".into()
            });
            return Keep::Private;
        }
        if answer.headers.has("set-cookie") && !(self.strip_set_cookie && covered) {
            trace.note("hints", || {
                "the answer sets a cookie, so no shared cache may keep it".into()
            });
            return Keep::Private;
        }
        if covered && self.profile == Profile::Browser {
            return Keep::Private;
        }
        wish.map_or(Keep::Any, |wish| wish.keep)
    }

    fn fulfil(
        &self,
        wish: &Wish,
        keep: Keep,
        asked: &Asked,
        hints: &mut Hints<'_>,
        trace: &mut Trace,
    ) {
        if keep == Keep::Nobody || about_the_asker(hints.answer) || !asked.is_retrieval() {
            return;
        }
        if wish.must_revalidate {
            hints.said.must_revalidate = true;
            hints.said.stale_while_revalidate = None;
            hints.said.stale_if_error = None;
        }
        match wish.mode {
            Mode::Off | Mode::Respect => {}
            Mode::Default => self.fill(wish, hints, trace),
            Mode::Cap => hints.cap(wish, trace),
            Mode::Override => self.override_origin(wish, keep, hints, trace),
        }
    }

    fn fill(&self, wish: &Wish, hints: &mut Hints<'_>, trace: &mut Trace) {
        if hints.says_how_long() {
            trace.note("hints", || {
                "the origin says how long its answer lives, so the route's ttl is not used".into()
            });
            return;
        }
        let own = self.targeted.as_deref();
        let taken = own.is_some_and(|name| hints.answer.headers.has(name));
        hints.write(wish, own.filter(|_| !taken));
    }

    fn override_origin(&self, wish: &Wish, keep: Keep, hints: &mut Hints<'_>, trace: &mut Trace) {
        if wish.force {
            trace.note("hints", || {
                "forced: the origin's limits on keeping the answer are gone".into()
            });
            hints.said.lift_limits(keep);
            hints.said.must_revalidate = wish.must_revalidate;
        } else if hints.said.forbids_reuse() {
            trace.note("hints", || {
                "the origin forbids using the answer again, so the route's ttl is not used".into()
            });
            return;
        }
        let own = self.targeted.as_deref();
        let stands = own.is_some_and(|name| !wish.force && targeted::forbids(hints.answer, name));
        hints.write(wish, own.filter(|_| !stands));
    }

    /// What a shared cache keeps, it gives to others with its cookies. They are dropped where the
    /// route says so; otherwise the answer is private by now, or becomes so.
    fn part_with_cookies(&self, hints: &mut Hints<'_>, trace: &mut Trace) {
        if !hints.answer.headers.has("set-cookie") {
            return;
        }
        if hints.is_for_shared_caches() {
            trace.note("hints", || {
                "the answer is for shared caches, so its cookies are dropped".into()
            });
            hints.strip_cookies = true;
        } else {
            hints.limit(Keep::Private);
        }
    }

    fn suit_the_cache_in_front(&self, hints: &mut Hints<'_>) {
        match self.profile {
            Profile::Generic | Profile::Browser => {}
            Profile::CloudCdn => hints.suit_cloud_cdn(),
            Profile::EnvoyCache => hints.suit_envoy_cache(),
        }
    }

    fn no_vary_search_edit(&self, answer: &ResponseHead) -> Option<Edit> {
        let value = self.no_vary_search.as_deref()?;
        (!answer.headers.has("no-vary-search")).then(|| set("no-vary-search", value.to_owned()))
    }
}

fn covering(wish: Option<&Wish>) -> String {
    let mode = match wish.map(|wish| wish.mode) {
        None | Some(Mode::Off) => {
            return "no rule of the route covers the answer, so only the safety rules hold".into();
        }
        Some(Mode::Respect) => "respect",
        Some(Mode::Default) => "default",
        Some(Mode::Cap) => "cap",
        Some(Mode::Override) => "override",
    };
    format!("a rule of the route covers the answer, with `mode: {mode}`")
}

/// Whether the status is about whoever asked, so that no lifetime of a route is meant for it.
fn about_the_asker(answer: &ResponseHead) -> bool {
    matches!(answer.status(), Some(401 | 403 | 407))
}

/// The answer's hints while they are made.
struct Hints<'a> {
    answer: &'a ResponseHead,
    origin: Origin,
    now: UnixTime,
    said: Directives,
    /// Whether any rule wanted something, so that the fields may be written anew.
    touched: bool,
    /// Whether no shared cache may keep the answer by the word of the route or the safety rules.
    /// An origin that says so in Cache-Control alone may mean it for browsers (RFC 9213 §2.2).
    limited: bool,
    /// What the route's own targeted field is to say.
    targeted: Option<(String, String)>,
    strip_cookies: bool,
    set_date: bool,
}

impl<'a> Hints<'a> {
    fn new(answer: &'a ResponseHead, now: UnixTime) -> Self {
        let origin = Origin::read(answer, now);
        Self {
            answer,
            said: origin.reading.directives.clone(),
            origin,
            now,
            touched: false,
            limited: false,
            targeted: None,
            strip_cookies: false,
            set_date: false,
        }
    }

    fn limit(&mut self, keep: Keep) {
        match keep {
            Keep::Any => return,
            Keep::Private => self.said.make_private(),
            Keep::Nobody => self.said.make_no_store(),
        }
        self.touched = true;
        self.limited = true;
    }

    /// Whether something is said already of how long the answer lives, or that it must not be used
    /// again by itself.
    fn says_how_long(&self) -> bool {
        let said = &self.said;
        said.has_lifetime() || said.forbids_reuse() || self.origin.expires.is_some()
    }

    /// Writes the route's lifetimes. Those of shared caches go into `field`, if there is one.
    fn write(&mut self, wish: &Wish, field: Option<&str>) {
        let said = &mut self.said;
        let sharable = !said.forbids_sharing();
        let apart = wish.shared_ttl.filter(|seconds| Some(*seconds) != wish.ttl);
        said.public = sharable;
        said.max_age = wish.ttl;
        said.s_maxage = apart.filter(|_| sharable && field.is_none());
        said.immutable = wish.immutable;
        let may_be_stale = !said.must_revalidate;
        said.stale_while_revalidate = wish.stale_while_revalidate.filter(|_| may_be_stale);
        said.stale_if_error = wish.stale_if_error.filter(|_| may_be_stale);
        self.targeted = field
            .filter(|_| sharable)
            .zip(wish.for_shared())
            .map(|(field, seconds)| (field.to_owned(), said.targeted_twin(seconds)));
    }

    fn cap(&mut self, wish: &Wish, trace: &mut Trace) {
        let said = &mut self.said;
        let lifetime = self.origin.lifetime();
        if let (Some(held), Some(limit)) = (lifetime, wish.ttl)
            && held > limit
        {
            trace.note("hints", || {
                format!("max-age is capped from {held} to {limit}")
            });
            said.max_age = Some(limit);
        }
        if let Some(limit) = wish.for_shared() {
            said.s_maxage = match said.s_maxage {
                Some(held) => Some(held.min(limit)),
                // The shared lifetime was the other one: it is capped apart where that differs.
                None => lifetime
                    .map(|held| held.min(limit))
                    .filter(|seconds| !said.forbids_sharing() && Some(*seconds) != said.max_age)
                    .filter(|_| wish.shared_ttl.is_some()),
            };
        }
        let within = |held: &mut Option<u32>, limit: Option<u32>| {
            if let (Some(held), Some(limit)) = (held, limit) {
                *held = limit.min(*held);
            }
        };
        within(
            &mut said.stale_while_revalidate,
            wish.stale_while_revalidate,
        );
        within(&mut said.stale_if_error, wish.stale_if_error);
    }

    /// Lifts RFC 9111 §3.5, which keeps shared caches from answers to requests with
    /// `Authorization`, where there is a lifetime to share.
    fn share(&mut self) {
        if self.is_for_shared_caches() {
            self.said.public = true;
        }
    }

    /// The next cache keeps the answer under its caller's own key, as a private cache would; behind
    /// it the answer is made private again.
    fn open_to_own_cache(&mut self) {
        let set_cookie = self.answer.headers.has("set-cookie");
        if !set_cookie && !about_the_asker(self.answer) {
            self.said.private = Scope::Absent;
        }
    }

    fn is_for_shared_caches(&self) -> bool {
        let lives = self.said.has_lifetime() || self.origin.expires.is_some();
        lives && !self.said.forbids_sharing()
    }

    /// It asks for `public`, and stale answers only within a week.
    fn suit_cloud_cdn(&mut self) {
        if self.is_for_shared_caches() {
            self.said.public = true;
        }
        if let Some(seconds) = &mut self.said.stale_while_revalidate {
            *seconds = CLOUD_CDN_STALE.min(*seconds);
        }
    }

    /// It answers whole requests with a stored 206, takes `max-age=0` as fresh for up to a second,
    /// and asks again each time where there is no Date.
    fn suit_envoy_cache(&mut self) {
        if !self.is_for_shared_caches() {
            return;
        }
        let lifetime = self.said.s_maxage.or(self.said.max_age);
        if lifetime.or(self.origin.expires) == Some(0) {
            self.said.no_cache = Scope::Whole;
        }
        self.set_date = !self.answer.headers.has("date");
    }

    fn edits(&mut self, wish: Option<&Wish>) -> Vec<Edit> {
        let mut edits = Vec::new();
        if !self.touched {
            return edits;
        }
        let reading = &self.origin.reading;
        if reading.doubtful || self.said != reading.directives {
            self.take_over_expires();
            edits.push(set("cache-control", self.said.to_string()));
            edits.extend(self.remove("expires"));
        }
        if wish.is_some_and(|wish| wish.force) && !self.said.forbids_reuse() {
            edits.extend(self.remove("pragma"));
        }
        if self.strip_cookies {
            edits.extend(self.remove("set-cookie"));
        }
        if self.set_date {
            edits.push(set("date", field::print_http_date(self.now)));
        }
        edits.extend(self.targeted_edits(wish));
        edits
    }

    /// A cache of HTTP/1.0 reads Expires and no Cache-Control: where that field is rewritten, the
    /// lifetime moves into it.
    fn take_over_expires(&mut self) {
        if self.said.max_age.is_none() && !self.said.no_store {
            self.said.max_age = self.origin.expires;
        }
    }

    fn targeted_edits(&self, wish: Option<&Wish>) -> Vec<Edit> {
        let present = targeted::present(self.answer);
        if self.limited {
            return present.into_iter().map(Edit::Remove).collect();
        }
        let own = self.targeted.as_ref().map(|(name, _)| name);
        let mut edits: Vec<_> = present
            .iter()
            .filter(|name| own != Some(*name))
            .filter_map(|name| self.targeted_edit(name, wish?))
            .collect();
        if let Some((name, value)) = &self.targeted {
            let mut held = self.answer.headers.all(name);
            if held.next() != Some(value.as_bytes()) || held.next().is_some() {
                edits.push(set(name, value.clone()));
            }
        }
        edits
    }

    /// What becomes of one of the origin's targeted fields.
    fn targeted_edit(&self, name: &str, wish: &Wish) -> Option<Edit> {
        match wish.mode {
            Mode::Off | Mode::Respect | Mode::Default => None,
            Mode::Cap => targeted::cap(self.answer, name, wish.for_shared()?),
            Mode::Override if wish.force || !targeted::forbids(self.answer, name) => {
                Some(Edit::Remove(name.to_owned()))
            }
            Mode::Override => None,
        }
    }

    fn remove(&self, name: &str) -> Option<Edit> {
        let there = self.answer.headers.has(name);
        there.then(|| Edit::Remove(name.to_owned()))
    }
}

fn set(name: &str, value: String) -> Edit {
    Edit::Set(name.to_owned(), value.into_bytes())
}

fn summary(edits: &[Edit]) -> String {
    if edits.is_empty() {
        return "the answer's caching fields stay as they are".to_owned();
    }
    let each = edits.iter().map(|edit| match edit {
        Edit::Set(name, value) => format!("{name}: {}", value.escape_ascii()),
        Edit::Add(name, value) => format!("one more {name}: {}", value.escape_ascii()),
        Edit::Remove(name) => format!("{name} removed"),
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
