package main

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/config"
	"perigee/internal/need"
	"perigee/origin"
)

const deployDir = "../../deploy"

// TestSamplesAreValid loads the node files of deploy, with the site files that they
// name.
func TestSamplesAreValid(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, c := range []struct{ node, sites, site string }{
		{"perigee.yaml", "sites/*.yaml", "www.example.com"},
		{"compose/perigee.yaml", "compose/site.yaml", "*"},
	} {
		conf, err := config.Load(filepath.Join(deployDir, c.node), func(string) (string, bool) { return "", false })
		if err != nil {
			t.Errorf("%s: %v", c.node, err)
			continue
		}
		if len(conf.Sites) != 1 || conf.Sites[0].Name != c.site {
			t.Errorf("%s: %s, want %s alone", c.node, countSites(conf), c.site)
		}
		used[c.node] = true
		sites, err := fs.Glob(os.DirFS(deployDir), c.sites)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range sites {
			used[file] = true
		}
	}
	err := fs.WalkDir(os.DirFS(deployDir), ".", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".yaml") && path != "compose.yaml" && !used[path] {
			t.Errorf("deploy/%s is not loaded by any node file above", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestComposeNamesWhatThereIs: the paths and ports of the compose file are those of
// the repository and of its node file.
func TestComposeNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	text := readFile(t, filepath.Join(deployDir, "compose.yaml"))
	for _, c := range []struct{ line, file string }{
		{"build: {context: .., dockerfile: Dockerfile}", "../Dockerfile"},
		{`volumes: ["./compose:/etc/perigee:ro"]`, "compose/perigee.yaml"},
	} {
		if !strings.Contains(text, c.line) {
			t.Errorf("deploy/compose.yaml has no line %s", c.line)
		}
		if _, err := os.Stat(filepath.Join(deployDir, c.file)); err != nil {
			t.Errorf("%s: %v", c.line, err)
		}
	}
	ports := regexp.MustCompile(`ports: \["\d+:80", "\d+:443"\]`).FindAllString(text, -1)
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 2 {
		t.Errorf("deploy/compose.yaml publishes %q; want ports 80 and 443 of two edges, under ports of their own", ports)
	}
}

// TestSystemdUnits has systemd check the unit files, with a command that is there in
// place of ours.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	analyze := need.Command(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"perigee.service", "perigee.socket"} {
		text := readFile(t, filepath.Join(deployDir, name))
		text = strings.ReplaceAll(text, "/usr/local/bin/perigee", need.Command(t, "true"))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(analyze, "verify", "--man=no", "perigee.service", "perigee.socket")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestStopTimesFit: whoever ends the process waits for longer than it may take.
func TestStopTimesFit(t *testing.T) {
	t.Parallel()
	for file, key := range map[string]string{"perigee.service": "TimeoutStopSec=", "compose.yaml": "stop_grace_period: "} {
		_, rest, _ := strings.Cut(readFile(t, filepath.Join(deployDir, file)), key)
		text, _, _ := strings.Cut(rest, "\n")
		if d, err := time.ParseDuration(text); err != nil || d <= drainTime+5*time.Second {
			t.Errorf("deploy/%s: %s%s; want more than %v and 5 s", file, key, text, drainTime)
		}
	}
}

// TestOperationsNamesWhatThereIs: docs/operations.md names metrics, reasons and
// limits that exist, and every kind of trouble with an upstream that a client can see.
func TestOperationsNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	text := readFile(t, "../../docs/operations.md")
	code := sources(t, "../../admin", "../../edge", "../../origin", "../../httpcache")
	for _, metric := range regexp.MustCompile(`perigee_[a-z0-9_]+`).FindAllString(text, -1) {
		if !strings.Contains(code, `"`+metric+`"`) {
			t.Errorf("docs/operations.md names %s, which is no metric", metric)
		}
	}
	for _, match := range regexp.MustCompile("detail=([a-z_-]+)").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(code, `"`+match[1]+`"`) {
			t.Errorf("docs/operations.md names detail=%s, which nothing says", match[1])
		}
	}
	for _, kind := range origin.ErrorKinds() {
		if kind != origin.ErrCanceled && !strings.Contains(text, "detail="+kind.String()+"`") {
			t.Errorf("docs/operations.md does not name detail=%s", kind)
		}
	}
	schema := struct {
		Properties map[string]struct {
			Properties map[string]struct{ Default any } `json:"properties"`
		} `json:"properties"`
	}{}
	if err := json.Unmarshal(config.JSONSchema(config.NodeFile), &schema); err != nil {
		t.Fatal(err)
	}
	limits := schema.Properties["limits"].Properties
	if len(limits) == 0 {
		t.Fatal("the schema has no limits")
	}
	for name, key := range limits {
		if row := fmt.Sprintf("| `limits.%s` | %v", name, key.Default); !strings.Contains(text, row) {
			t.Errorf("docs/operations.md has no row %s", row)
		}
	}
}

// sources is the production code of some folders.
func sources(t *testing.T, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				all.WriteString(readFile(t, file))
			}
		}
	}
	return all.String()
}

// image is what the Dockerfile says, as far as it can be followed without Docker.
type image struct {
	runs                      []string // shell commands
	copies                    []copied // from the build into the image
	user                      string
	entrypoint, cmd, healthOf []string
}

type copied struct {
	from string
	own  bool // --chown to the user
}

// readImage fails the test for lines that it does not know what to do with.
func readImage(t *testing.T) *image {
	t.Helper()
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(readFile(t, "../../Dockerfile"), "")
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
	im := &image{}
	var stages []string
	list := func(text string) (argv []string) {
		if err := json.Unmarshal([]byte(text), &argv); err != nil {
			t.Fatalf("Dockerfile: %s is no list: there is no shell to read it", text)
		}
		return argv
	}
	for _, line := range strings.Split(text, "\n") {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "", "WORKDIR", "EXPOSE", "VOLUME", "STOPSIGNAL":
		case "ENV":
			if rest != "GOCACHE=/cache/build GOMODCACHE=/cache/modules" {
				t.Fatalf("Dockerfile: ENV %s would not reach the build of this test", rest)
			}
		case "FROM":
			stages = append(stages, rest)
		case "RUN":
			im.runs = append(im.runs, regexp.MustCompile(`--mount=\S+ +`).ReplaceAllString(rest, ""))
		case "COPY":
			if from, ok := strings.CutPrefix(rest, "--from=build "); ok {
				fields := strings.Fields(from)
				im.copies = append(im.copies, copied{fields[len(fields)-2], strings.HasPrefix(from, "--chown=")})
			}
		case "USER":
			im.user = rest
		case "ENTRYPOINT":
			im.entrypoint = list(rest)
		case "CMD":
			im.cmd = list(rest)
		case "HEALTHCHECK":
			_, argv, _ := strings.Cut(rest, "CMD ")
			im.healthOf = list(argv)
		default:
			t.Fatalf("Dockerfile: this test does not know %s", what)
		}
	}
	if diff := cmp.Diff([]string{"golang:1.26 AS build", "scratch"}, stages); diff != "" {
		t.Errorf("stages of the Dockerfile (-want +got):\n%s", diff)
	}
	if len(im.runs) == 0 || len(im.copies) == 0 || im.user != "65532:65532" {
		t.Fatalf("the Dockerfile was not understood: %+v", im)
	}
	return im
}

// build follows the Dockerfile and returns the folder that would be the container's
// root.
func (im *image) build(t *testing.T) (root string) {
	t.Helper()
	stage, root := t.TempDir(), t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil { //nolint:gosec // the root of a file system
		t.Fatal(err)
	}
	inStage := strings.NewReplacer(" /image", " "+stage+"/image", " /volumes", " "+stage+"/volumes")
	for _, run := range im.runs {
		cmd := exec.Command("/bin/sh", "-ec", inStage.Replace(run))
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-buildvcs=false") // the build sees no .git
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("RUN %s: %v\n%s", run, err, out)
		}
	}
	for _, c := range im.copies {
		from := filepath.Join(stage, c.from)
		if err := os.CopyFS(root, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		if !c.own || os.Geteuid() != 0 {
			continue
		}
		err := fs.WalkDir(os.DirFS(from), ".", func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chown(filepath.Join(root, path), 65532, 65532))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// in is a command in that root, as the image's user. Who may not do that runs it in
// an empty folder instead.
func (im *image) in(t *testing.T, root string, argv []string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() == 0 {
		return &exec.Cmd{
			Path: argv[0], Args: argv, Dir: "/", Env: []string{},
			SysProcAttr: &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}},
		}
	}
	argv = slices.Clone(argv)
	for i, arg := range argv {
		if strings.HasPrefix(arg, "/") {
			argv[i] = filepath.Join(root, arg)
		}
	}
	return &exec.Cmd{Path: argv[0], Args: argv, Dir: t.TempDir(), Env: []string{}}
}

// TestImage builds what the Dockerfile builds and runs it in an empty root.
func TestImage(t *testing.T) {
	t.Parallel()
	const roots = "/etc/ssl/certs/ca-certificates.crt"
	switch _, err := os.Stat(roots); {
	case testing.Short():
		t.Skip("builds the command anew")
	case runtime.GOOS != "linux":
		t.Skip("the image is Linux's")
	case err != nil && os.Getenv("PERIGEE_CI") == "1":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	im := readImage(t)
	root := im.build(t)
	wantStatic(t, filepath.Join(root, "perigee"))
	var files []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{strings.TrimPrefix(roots, "/"), "perigee"}, files); diff != "" {
		t.Errorf("files of the image (-want +got):\n%s", diff)
	}
	putSamples(t, filepath.Join(root, "etc/perigee"))

	p := runs(t, im.in(t, root, append(slices.Clone(im.entrypoint), im.cmd...)))
	text := p.says(t, "\n  stores ")
	found := make(map[string]string)
	for _, match := range announced.FindAllStringSubmatch(text, -1) {
		found[match[1]+" "+match[2]] = match[3]
	}
	ask(t, found["listens http"])
	operator := found["operator http"]
	health := im.in(t, root, append(slices.Clone(im.healthOf), "--admin", operator))
	if out, err := health.CombinedOutput(); err != nil || string(out) != "ready\n" {
		t.Errorf("%v: %q, %v; want ready", health.Args, out, err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ends(t, exitOK)
	health = im.in(t, root, append(slices.Clone(im.healthOf), "--admin", operator))
	if out, err := health.CombinedOutput(); err == nil {
		t.Errorf("%v succeeded with %q, and nothing runs any more", health.Args, out)
	}
}

// wantStatic fails for a binary that needs a loader or a library.
func wantStatic(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			t.Errorf("%s wants a loader", path)
		}
	}
	if needed, err := f.DynString(elf.DT_NEEDED); len(needed) > 0 {
		t.Errorf("%s wants %q, %v", path, needed, err)
	}
}

// putSamples copies the sample configuration, with free ports in place of its own.
func putSamples(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(deployDir)); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, filepath.Join(dir, "perigee.yaml"))
	for _, addr := range []string{`":80"`, `":443"`, `"127.0.0.1:9180"`} {
		if strings.Count(text, addr) != 1 {
			t.Fatalf("deploy/perigee.yaml does not name %s once", addr)
		}
		text = strings.Replace(text, addr, `"127.0.0.1:0"`, 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "perigee.yaml"), []byte(text), 0o644); err != nil { //nolint:gosec // the image's user reads it
		t.Fatal(err)
	}
}

// says waits until the process has written want to stderr, and returns all of it.
func (p *process) says(t *testing.T, want string) string {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text := p.stderr.String()
		if strings.Contains(text, want) {
			return text
		}
		select {
		case <-tick.C:
		case <-p.exited:
			t.Fatalf("it ended before it said %q: %s", want, p.stderr.String())
		case <-deadline.C:
			t.Fatalf("it does not say %q: %s", want, text)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
