package trial

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// damages are what can happen to the files of a store. Each returns what it has done.
var damages = []func(*rand.Rand, []string) (string, error){
	flip, zero, truncate, remove, swap, double, shred,
}

// flip changes some bytes of one segment.
func flip(r *rand.Rand, files []string) (string, error) {
	file := files[r.IntN(len(files))]
	n := 1 + r.IntN(64)
	return fmt.Sprintf("%d bytes of %s flipped", n, filepath.Base(file)), within(file, func(f *os.File, size int64) error {
		for range n {
			var p [1]byte
			at := r.Int64N(size)
			if _, err := f.ReadAt(p[:], at); err != nil {
				return err
			}
			p[0] ^= byte(1 + r.IntN(255))
			if _, err := f.WriteAt(p[:], at); err != nil {
				return err
			}
		}
		return nil
	})
}

// zero writes zeros over a range.
func zero(r *rand.Rand, files []string) (string, error) {
	file := files[r.IntN(len(files))]
	return "a range of " + filepath.Base(file) + " zeroed", within(file, func(f *os.File, size int64) error {
		at := r.Int64N(size)
		_, err := f.WriteAt(make([]byte, min(size-at, 1+r.Int64N(256<<10))), at)
		return err
	})
}

func truncate(r *rand.Rand, files []string) (string, error) {
	file := files[r.IntN(len(files))]
	return filepath.Base(file) + " truncated", within(file, func(f *os.File, size int64) error { return f.Truncate(r.Int64N(size)) })
}

func remove(r *rand.Rand, files []string) (string, error) {
	file := files[r.IntN(len(files))]
	return filepath.Base(file) + " removed", os.Remove(file)
}

// swap gives two segments each other's names.
func swap(r *rand.Rand, files []string) (string, error) {
	a, b := files[r.IntN(len(files))], files[r.IntN(len(files))]
	return fmt.Sprintf("%s and %s swapped", filepath.Base(a), filepath.Base(b)),
		errors.Join(os.Rename(a, a+".swap"), rename(b, a), os.Rename(a+".swap", b))
}

// rename is a no-op where from has just got another name.
func rename(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// double puts a copy of one segment under the name of another.
func double(r *rand.Rand, files []string) (string, error) {
	a, b := files[r.IntN(len(files))], files[r.IntN(len(files))]
	text, err := os.ReadFile(a)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s overwritten with %s", filepath.Base(b), filepath.Base(a)), os.WriteFile(b, text, 0o600)
}

// shred fills a whole segment with noise, so that it is none any more.
func shred(r *rand.Rand, files []string) (string, error) {
	file := files[r.IntN(len(files))]
	return filepath.Base(file) + " shredded", within(file, func(f *os.File, size int64) error {
		p := make([]byte, min(size, 1<<20))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		_, err := f.WriteAt(p, 0)
		return err
	})
}

// within does something to a file that is not empty.
func within(path string, do func(f *os.File, size int64) error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	return do(f, info.Size())
}

// damage does n things to the segments of a folder. A process that runs may have
// removed a file meanwhile.
func damage(r *rand.Rand, folder string, n int) (did []string) {
	for range n {
		files, _ := filepath.Glob(filepath.Join(folder, "segment-*.log"))
		if len(files) == 0 {
			return append(did, "no segment to damage")
		}
		what, err := damages[r.IntN(len(damages))](r, files)
		if err != nil {
			what += " (" + err.Error() + ")"
		}
		did = append(did, what)
	}
	return did
}

// damageName writes over the file that names the store.
func damageName(r *rand.Rand, folder string) string {
	what, err := flip(r, []string{filepath.Join(folder, "perigee-store")})
	if err != nil {
		what += " (" + err.Error() + ")"
	}
	return what
}

// used is how many bytes of the medium the files of a folder take, as du has it.
func used(folder string) (n int64) {
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file that has gone takes nothing
		}
		var s syscall.Stat_t
		if syscall.Lstat(path, &s) == nil {
			n += s.Blocks * 512
		}
		return nil
	})
	return n
}
