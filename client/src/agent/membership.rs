//! The session on the mesh that all processes of an agent session use.
//!
//! What must hold: whoever finds that it has ended joins again under the record's lock, and only if nobody else has
//! done so meanwhile; so no process ever replaces the session that another one uses.

use std::io;

use super::{Agent, Guard, Membership, Record};
use crate::{Client, ClientError, Config};

/// Where a session is kept for the other processes of an agent session.
#[derive(Clone, Debug)]
pub struct Kept {
    agent: Agent,
    endpoint: String,
}

impl Kept {
    /// In the record of an agent session, for the mesh of a configuration.
    pub fn new(agent: Agent, config: &Config) -> Self {
        Self { agent, endpoint: config.endpoint_name() }
    }

    /// The agent session.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The kind of agent; empty when the record is gone.
    pub fn kind(&self) -> String {
        self.agent.read().unwrap_or_default().kind
    }

    /// What a record holds for a scope of this mesh.
    pub fn of<'a>(&self, record: &'a Record, scope: &str) -> Option<&'a Membership> {
        record.memberships.get(&self.name(scope))
    }

    /// What a record holds for a scope of this mesh, to be changed.
    pub fn of_mut<'a>(&self, record: &'a mut Record, scope: &str) -> Option<&'a mut Membership> {
        record.memberships.get_mut(&self.name(scope))
    }

    /// The scopes of this mesh in which there is a session.
    pub fn scopes(&self) -> Vec<String> {
        self.scopes_of(&self.agent.read().unwrap_or_default())
    }

    /// The scopes of this mesh that a record knows.
    pub(super) fn scopes_of(&self, record: &Record) -> Vec<String> {
        let mine = |name: &String| Some(name.strip_prefix(&self.endpoint)?.strip_prefix(' ')?.to_owned());
        record.memberships.keys().filter_map(mine).collect()
    }

    /// The membership in a scope, as it is.
    pub fn read(&self, scope: &str) -> Option<Membership> {
        self.of(&self.agent.read()?, scope).cloned()
    }

    /// Changes the membership in a scope; `None` when there is none.
    pub async fn change<T>(
        &self,
        scope: &str,
        change: impl FnOnce(&mut Membership) -> T,
    ) -> io::Result<Option<T>> {
        Ok(self.change_and_read(scope, change).await?.0)
    }

    /// As [`Kept::change`], with the record as it is then.
    pub async fn change_and_read<T>(
        &self,
        scope: &str,
        change: impl FnOnce(&mut Membership) -> T,
    ) -> io::Result<(Option<T>, Record)> {
        let mut guard = self.agent.locked().await?;
        let Some(membership) = self.of_mut(&mut guard.record, scope) else {
            return Ok((None, guard.into_record()));
        };
        let before = membership.clone();
        let result = change(membership);
        if *membership != before {
            guard.save()?;
        }
        Ok((Some(result), guard.into_record()))
    }

    /// Puts a membership into a record.
    pub(crate) fn put(&self, record: &mut Record, scope: &str, membership: Membership) {
        record.memberships.insert(self.name(scope), membership);
    }

    /// Forgets the membership in a scope, if it is still this session's.
    pub(crate) fn forget(&self, guard: &mut Guard, scope: &str, session_id: &str) -> io::Result<()> {
        let name = self.name(scope);
        if guard.record.memberships.get(&name).is_some_and(|kept| kept.session.session_id == session_id) {
            guard.record.memberships.remove(&name);
            guard.save()?;
        }
        Ok(())
    }

    pub(crate) async fn guard(&self, client: &Client) -> Result<Guard, ClientError> {
        self.agent.locked().await.map_err(|error| {
            let home = client.config().home.path().display();
            ClientError::config(format!("cannot use the registry of agents in {home}: {error}"))
        })
    }

    fn name(&self, scope: &str) -> String {
        format!("{} {scope}", self.endpoint)
    }
}
