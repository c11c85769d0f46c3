//! What the two instances around a cache of Envoy tell each other.

use super::{Admitted, Exchange, Step, internal};
use crate::head::{Edit, RequestHead};
use crate::hints::mark::{BYPASS, MARK, Mark};
use crate::hints::{self, Edge, own_key};
use crate::policy::Policy;
use crate::schema::BodyPlan;
use crate::token::Env;

impl Exchange {
    /// Tells the instance behind the cache who asked, and has the cache pass by what is personal or
    /// keep it under a key of the caller's own.
    pub(super) fn tell_behind_cache(
        &mut self,
        policy: &Policy,
        head: &RequestHead,
        edits: &mut Vec<Edit>,
    ) {
        let rule = self.hints_rule(policy);
        let mut onward = head.clone();
        onward.headers.apply(edits);
        let key = self.own_key(policy, rule, &onward);
        let route = self
            .route
            .and_then(|index| Some((index, policy.routes.get(index)?.name.clone())));
        let mut mark = Mark::of(&self.asked, rule, route);
        let changes = match key {
            Some(key) => {
                mark.personal = false;
                mark.own_key = true;
                own_key::lock(&onward, &key)
            }
            None => {
                mark.personal |= own_key::is_claimed(head);
                self.bypass(&mark, &onward)
            }
        };
        onward.headers.apply(&changes);
        self.asked.bypasses_cache = onward.headers.has("authorization");
        edits.extend(changes);
        edits.push(Edit::Set(MARK.into(), mark.print().into_bytes()));
    }

    /// The caller's own key, where the route asks for one and a caller is known.
    fn own_key(
        &mut self,
        policy: &Policy,
        rule: &hints::Rule,
        onward: &RequestHead,
    ) -> Option<String> {
        if rule.edge != Edge::PerUser || !self.asked.is_retrieval() {
            return None;
        }
        let granted = self.granted.as_ref()?;
        let subject = granted.subject.as_deref()?;
        let fields = policy.caller_fields();
        let key = own_key::of(&granted.issuer, subject, fields, &onward.headers);
        self.trace.note("hints", || {
            "the cache keeps the answer under this caller's own key".into()
        });
        Some(key)
    }

    fn bypass(&mut self, mark: &Mark, onward: &RequestHead) -> Vec<Edit> {
        if !mark.personal || onward.headers.has("authorization") {
            return Vec::new();
        }
        self.trace.note("hints", || {
            "the answer is nobody else's, so the cache is passed by".into()
        });
        vec![Edit::Set("authorization".into(), BYPASS.to_vec())]
    }

    /// Takes a request that the instance before the cache has checked. Without a mark that fits this
    /// policy nothing is known of who asked, and so no shared cache may keep the answer.
    pub(super) fn behind_cache(
        &mut self,
        policy: &Policy,
        head: RequestHead,
        env: &Env<'_>,
    ) -> Step {
        let mark = head.headers.single(MARK).ok().flatten();
        let mark = mark.and_then(Mark::parse);
        let undone = match &mark {
            Some(mark) if mark.own_key => own_key::unlock(&head),
            _ => Some(without_bypass(&head)),
        };
        self.asked = hints::Asked {
            method: head.method().to_vec(),
            ..hints::Asked::default()
        };
        self.head = head;
        let Some(undone) = undone else {
            // Somebody rewrote the path in between: what the service would get is not known.
            return self.refuse(&internal());
        };
        let known = mark.filter(|mark| fits(mark, policy));
        // Nor is a service shown an identity on behalf of a request that nobody has checked.
        let mut services = policy.services.iter();
        if known.is_none() && services.any(|service| service.caller.is_some()) {
            return self.refuse(&internal());
        }
        match known {
            None => self.asked.credentials = true,
            Some(mark) => {
                self.route = mark.route.map(|(index, _)| index);
                self.asked.verified = mark.verified;
                self.asked.credentials = mark.credentials;
                self.asked.own_key = mark.own_key;
                self.asked.parameters = mark.parameters;
            }
        }
        let mut edits = vec![Edit::Remove(MARK.into())];
        edits.extend(undone);
        let plan = BodyPlan::NoBody;
        self.go_on(Admitted { edits, plan }, env, false)
    }
}

/// The edit that takes out the `Authorization` which had the cache pass a request by.
fn without_bypass(head: &RequestHead) -> Vec<Edit> {
    let mut held = head.headers.all("authorization");
    if held.any(|value| value == BYPASS) {
        vec![Edit::Remove("authorization".into())]
    } else {
        Vec::new()
    }
}

/// Whether the mark comes from an instance with this policy: the two may for a moment disagree.
fn fits(mark: &Mark, policy: &Policy) -> bool {
    let Some((index, name)) = &mark.route else {
        return !mark.own_key;
    };
    policy.routes.get(*index).is_some_and(|route| {
        let hints = &route.hints;
        route.name == *name
            && !(mark.personal && hints.shared)
            && (!mark.own_key || hints.edge == Edge::PerUser)
    })
}
