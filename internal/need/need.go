package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ciVariable is set to 1 where everything has been installed.
const ciVariable = "PERIGEE_CI"

// systemFolders hold servers, and are not in the PATH of everybody.
var systemFolders = [...]string{"/usr/sbin", "/usr/local/sbin", "/sbin"}

// Command returns the path of a program. If there is none the test is skipped, or
// fails where PERIGEE_CI=1.
func Command(t testing.TB, name string) string {
	t.Helper()
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	for _, folder := range systemFolders {
		if found, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return found
		}
	}
	if os.Getenv(ciVariable) == "1" {
		t.Fatalf("%s is not installed, and %s=1 says that it should be", name, ciVariable)
	}
	t.Skipf("%s is not installed", name)
	return ""
}
