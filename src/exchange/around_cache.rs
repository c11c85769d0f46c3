//! What the two instances around a cache of Envoy tell each other.

use super::{Admitted, Exchange, Step, internal};
use crate::head::{Edit, RequestHead};
use crate::hints;
use crate::hints::mark::{BYPASS, MARK, Mark};
use crate::policy::Policy;
use crate::schema::BodyPlan;
use crate::token::Env;

impl Exchange {
    /// Tells the instance behind the cache who asked, and has the cache pass by what is personal.
    pub(super) fn tell_behind_cache(
        &mut self,
        policy: &Policy,
        head: &RequestHead,
        edits: &mut Vec<Edit>,
    ) {
        let rule = self.hints_rule(policy);
        let route = self
            .route
            .and_then(|index| Some((index, policy.routes.get(index)?.name.clone())));
        let mark = Mark::of(&self.asked, rule.unwrap_or(&hints::Rule::default()), route);
        let mut onward = head.headers.clone();
        onward.apply(edits);
        if mark.personal && !onward.has("authorization") {
            self.trace.note("hints", || {
                "the answer is nobody else's, so the cache is passed by".into()
            });
            edits.push(Edit::Set("authorization".into(), BYPASS.to_vec()));
        }
        edits.push(Edit::Set(MARK.into(), mark.print().into_bytes()));
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
        let known = mark.filter(|mark| match &mark.route {
            None => true,
            Some((index, name)) => policy
                .routes
                .get(*index)
                .is_some_and(|route| route.name == *name && !(mark.personal && route.hints.shared)),
        });
        self.asked = hints::Asked {
            method: head.method().to_vec(),
            ..hints::Asked::default()
        };
        // Nor is a service shown an identity on behalf of a request that nobody has checked.
        let private = policy
            .services
            .iter()
            .any(|service| service.caller.is_some());
        if known.is_none() && private {
            self.head = head;
            return self.refuse(&internal());
        }
        match known {
            None => self.asked.credentials = true,
            Some(mark) => {
                self.route = mark.route.map(|(index, _)| index);
                self.asked.verified = mark.verified;
                self.asked.credentials = mark.credentials;
                self.asked.parameters = mark.parameters;
            }
        }
        let mut edits = vec![Edit::Remove(MARK.into())];
        if head
            .headers
            .all("authorization")
            .any(|value| value == BYPASS)
        {
            edits.push(Edit::Remove("authorization".into()));
        }
        self.head = head;
        let plan = BodyPlan::NoBody;
        self.go_on(Admitted { edits, plan }, env, false)
    }
}
