//! The bugs that these runs have found, each made again without chance.
//!
//! | what was wrong | found by | test |
//! |---|---|---|
//! | a call failed for good when the broker was killed while the client was starting it | `kills --seed 1`, kill while starting | `a_broker_killed_while_it_starts_is_started_again` |
//! | the directory of a new home was never synced: a power cut could take it, with all that was acknowledged | `power`, every cut that kept no pending name | `a_new_home_is_there_after_a_power_cut` |

use std::os::unix::fs::PermissionsExt;

use mesh_client::proto::GetStatusRequest;
use mesh_client::{Autostart, Client, Config};
use mesh_tests::{Mesh, meshctl};

#[tokio::test]
async fn a_broker_killed_while_it_starts_is_started_again() {
    let mesh = Mesh::new();
    let started = mesh.path().join("started");
    // The first two that are started are killed before they are ready.
    let script = format!(
        "#!/bin/sh\necho >> '{0}'\n[ $(wc -l < '{0}') -le 2 ] && kill -9 $$\nexec '{1}' serve --auto\n",
        started.display(),
        meshctl().display()
    );
    let program = mesh.path().join("broker.sh");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = Config {
        autostart: Autostart::Command(vec!["/bin/sh".into(), program.into()]),
        ..Config::local(mesh.home())
    };
    let client = Client::new(config).unwrap();
    let status = client.call(|client| async move { client.admin().get_status(GetStatusRequest {}).await });
    assert!(status.await.unwrap().auto_started);
    assert_eq!(std::fs::read_to_string(started).unwrap().lines().count(), 3);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_home_is_there_after_a_power_cut() {
    use mesh_chaos::dice::Dice;
    use mesh_chaos::power::cuts;
    use mesh_chaos::power::disk::Keeps;
    use mesh_chaos::power::recording::{End, Recording};

    let mut dice = Dice::new(1);
    let recording = Recording::make(&[], &[End::Asked], 2, &mut dice).await.unwrap();
    let (first, _) = recording.lives[0].exchanges[0].answered.unwrap();
    let lost = cuts::at(&recording, (0, first + 1), Keeps::Nothing, &mut dice).await.unwrap();
    assert_eq!(lost.violations, [""; 0]);
    assert!(lost.looked_up > 0);
}
