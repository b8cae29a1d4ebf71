//! What the host promises about a tap.

use std::fmt;

use crate::TapName;

/// How the answers of a tap's handlers become one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// All answers, in order. Handlers run concurrently. See [`collect`](crate::collect).
    Collect,
    /// Each handler gets what the one before returned. See [`alter`](crate::alter).
    Alter,
    /// Handlers are told and answer nothing. They run concurrently. See [`notify`](crate::notify).
    Notify,
    /// Handlers allow, deny or abstain; one denial decides. They run concurrently. See [`vote`](crate::vote).
    Vote,
    /// Handlers are asked one after another until one answers. See [`first`](crate::first).
    First,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Collect => "collect",
            Self::Alter => "alter",
            Self::Notify => "notify",
            Self::Vote => "vote",
            Self::First => "first",
        })
    }
}

/// What a handler that fails does to the dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// The failure is recorded, and the dispatch goes on as if the handler did not exist.
    Skip,
    /// The dispatch fails with the handler's error.
    Fail,
    /// The failure counts as a denial. Only [`Policy::Vote`] has it; the other folds treat it as [`OnFailure::Fail`].
    Deny,
    /// The failure is recorded, and the dispatch goes on as if the handler had given the tap's default answer.
    Default,
}

impl OnFailure {
    /// Whether the dispatch goes on after a failure.
    pub(crate) fn goes_on(self) -> bool {
        matches!(self, Self::Skip | Self::Default)
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Skip => "skip",
            Self::Fail => "fail",
            Self::Deny => "deny",
            Self::Default => "default",
        })
    }
}

/// A policy and a failure rule do not go together. The fault is with the host that declares the tap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// A vote in which a handler that crashes does not deny would open the door to whoever can crash it.
    #[error("tap `{tap}` is a vote: on failure it has to deny, not {on_failure}")]
    VoteFailsOpen {
        /// The tap.
        tap: TapName,
        /// What was asked for.
        on_failure: OnFailure,
    },
    /// Only a vote can be denied.
    #[error("tap `{tap}` has the policy {policy}, which cannot deny on failure")]
    NothingToDeny {
        /// The tap.
        tap: TapName,
        /// Its policy.
        policy: Policy,
    },
    /// Nobody answers a notification, so nothing can stand in for an answer.
    #[error("tap `{tap}` is a notification: it has no answer that could have a default")]
    NothingToAnswer {
        /// The tap.
        tap: TapName,
    },
}

/// A tap's name, policy and failure rule, in a combination that makes sense.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contract {
    tap: TapName,
    policy: Policy,
    on_failure: OnFailure,
}

impl Contract {
    /// Puts a contract together.
    ///
    /// # Errors
    ///
    /// [`ContractError`] when a vote does not fail closed, when another policy is to deny on failure, or when a
    /// notification is to have a default answer.
    pub fn new(tap: TapName, policy: Policy, on_failure: OnFailure) -> Result<Self, ContractError> {
        match (policy, on_failure) {
            (Policy::Vote, OnFailure::Deny) => {}
            (Policy::Vote, _) => return Err(ContractError::VoteFailsOpen { tap, on_failure }),
            (_, OnFailure::Deny) => return Err(ContractError::NothingToDeny { tap, policy }),
            (Policy::Notify, OnFailure::Default) => return Err(ContractError::NothingToAnswer { tap }),
            _ => {}
        }
        Ok(Self { tap, policy, on_failure })
    }

    /// The tap.
    #[must_use]
    pub fn tap(&self) -> &TapName {
        &self.tap
    }

    /// How answers fold.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// What a failing handler does.
    #[must_use]
    pub fn on_failure(&self) -> OnFailure {
        self.on_failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_vote_denies_and_a_vote_only_denies() {
        let tap = TapName::new("t").unwrap();
        for policy in [Policy::Collect, Policy::Alter, Policy::Notify, Policy::Vote, Policy::First] {
            for on_failure in [OnFailure::Skip, OnFailure::Fail, OnFailure::Deny, OnFailure::Default] {
                let sensible = (policy == Policy::Vote) == (on_failure == OnFailure::Deny)
                    && !(policy == Policy::Notify && on_failure == OnFailure::Default);
                let contract = Contract::new(tap.clone(), policy, on_failure);
                assert_eq!(contract.is_ok(), sensible, "{policy} with {on_failure}: {contract:?}");
            }
        }
    }
}
