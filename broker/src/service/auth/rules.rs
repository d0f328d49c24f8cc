//! What each method of each service demands of its caller: the one place where that is said.

use mesh_core::record::Role;

/// The least role that may call a method, by its path, in the order of the paths.
const RULES: &[(&str, Role)] = &[
    ("/grpc.health.v1.Health/Check", Role::Observer),
    ("/grpc.health.v1.Health/Watch", Role::Observer),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Role::Observer),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Role::Observer),
    ("/mesh.v1.AdminService/Backup", Role::Admin),
    ("/mesh.v1.AdminService/GetStatus", Role::Observer),
    ("/mesh.v1.AdminService/Stop", Role::Admin),
    ("/mesh.v1.EventService/ListEvents", Role::Observer),
    ("/mesh.v1.EventService/Wait", Role::Observer),
    ("/mesh.v1.EventService/Watch", Role::Observer),
    ("/mesh.v1.LockService/AcquireLocks", Role::Member),
    ("/mesh.v1.LockService/AnswerRelease", Role::Member),
    ("/mesh.v1.LockService/CheckFence", Role::Observer),
    ("/mesh.v1.LockService/ForceRelease", Role::Maintainer),
    ("/mesh.v1.LockService/ListLockWaiters", Role::Observer),
    ("/mesh.v1.LockService/ListLocks", Role::Observer),
    ("/mesh.v1.LockService/ListReleaseRequests", Role::Observer),
    ("/mesh.v1.LockService/ReleaseLocks", Role::Member),
    ("/mesh.v1.LockService/RenewLocks", Role::Member),
    ("/mesh.v1.LockService/RequestRelease", Role::Member),
    ("/mesh.v1.MessageService/AcknowledgeMessages", Role::Member),
    ("/mesh.v1.MessageService/Ask", Role::Member),
    ("/mesh.v1.MessageService/FollowTopics", Role::Member),
    ("/mesh.v1.MessageService/GetReceipts", Role::Observer),
    ("/mesh.v1.MessageService/ListFeed", Role::Observer),
    ("/mesh.v1.MessageService/ListMessages", Role::Observer),
    ("/mesh.v1.MessageService/ListTopics", Role::Observer),
    ("/mesh.v1.MessageService/ReportWake", Role::Member),
    ("/mesh.v1.MessageService/Send", Role::Member),
    ("/mesh.v1.PathService/DescribePath", Role::Observer),
    ("/mesh.v1.PathService/TouchFiles", Role::Member),
    ("/mesh.v1.PeerService/Heartbeat", Role::Member),
    ("/mesh.v1.PeerService/Join", Role::Member),
    ("/mesh.v1.PeerService/Leave", Role::Member),
    ("/mesh.v1.PeerService/ListPeers", Role::Observer),
    ("/mesh.v1.PeerService/UpdatePeer", Role::Member),
    ("/mesh.v1.StateService/Delete", Role::Member),
    ("/mesh.v1.StateService/Get", Role::Observer),
    ("/mesh.v1.StateService/ListEntries", Role::Observer),
    ("/mesh.v1.StateService/ListPolicies", Role::Observer),
    ("/mesh.v1.StateService/ListVersions", Role::Observer),
    ("/mesh.v1.StateService/Put", Role::Member),
    ("/mesh.v1.StateService/Restore", Role::Member),
    ("/mesh.v1.StateService/SearchEntries", Role::Observer),
    ("/mesh.v1.StateService/SetPolicy", Role::Maintainer),
    ("/mesh.v1.StateService/Transact", Role::Member),
    ("/mesh.v1.TokenService/CreateToken", Role::Admin),
    ("/mesh.v1.TokenService/ListTokens", Role::Admin),
    ("/mesh.v1.TokenService/RevokeToken", Role::Admin),
];

/// The least role that may call what is under a path; what is not in the table is for admins.
pub(super) fn least_role(path: &str) -> Role {
    RULES.binary_search_by(|(method, _)| (*method).cmp(path)).map_or(Role::Admin, |at| RULES[at].1)
}

/// The role as a word.
pub(super) fn name(role: Role) -> &'static str {
    match role {
        Role::Observer => "observer",
        Role::Member => "member",
        Role::Maintainer => "maintainer",
        Role::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// The paths of all methods of all services in a descriptor set.
    fn methods(set: &[u8]) -> Vec<String> {
        let set = prost_types::FileDescriptorSet::decode(set).unwrap();
        let mut methods = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    methods.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_of_every_service_has_its_rule() {
        let sets = [
            mesh_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut methods: Vec<_> = sets.into_iter().flat_map(methods).collect();
        methods.sort();
        methods.dedup();
        let ruled: Vec<_> = RULES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(ruled, methods);
    }

    #[test]
    fn the_table_says_who_may_call_what() {
        let table = [
            ("/mesh.v1.EventService/Watch", Role::Observer),
            ("/mesh.v1.PeerService/Join", Role::Member),
            ("/mesh.v1.LockService/ForceRelease", Role::Maintainer),
            ("/mesh.v1.StateService/SetPolicy", Role::Maintainer),
            ("/mesh.v1.TokenService/CreateToken", Role::Admin),
            ("/mesh.v1.AdminService/Stop", Role::Admin),
            ("/mesh.v1.AdminService/NoSuch", Role::Admin),
            ("", Role::Admin),
        ];
        for (path, role) in table {
            assert_eq!(least_role(path), role, "{path}");
        }
    }
}
