package geo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// maxFileBytes bounds a database: the largest that are published have some hundred
// MiB, and all of it is held in memory.
const maxFileBytes = 1 << 30

// open reads a database into memory. A mapped file would save the memory, but a file
// that is truncated while it is mapped kills the process.
func open(name string) (*maxminddb.Reader, error) {
	data, err := read(name)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the name stands in our caller's words
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: download it, or correct the path", err)
		}
		return nil, err
	}
	return reader(data)
}

func read(name string) ([]byte, error) {
	if err := usable(os.Stat(name)); err != nil { // before opening: that of a pipe would wait
		return nil, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err := usable(info, err); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("the file became shorter while it was read: replace databases by renaming")
		}
		return nil, err
	}
	return data, nil
}

func usable(info fs.FileInfo, err error) error {
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file: name the .mmdb file itself")
	case info.Size() == 0:
		return errors.New("the file is empty: download it again")
	case info.Size() > maxFileBytes:
		return fmt.Errorf("the file has %d bytes, at most %d are allowed", info.Size(), maxFileBytes)
	}
	return nil
}

// unusable says what to do about a file that is no database of countries.
func unusable(err error) error {
	var unknown geoip2.UnknownDatabaseTypeError
	var method geoip2.InvalidMethodError
	kind := ""
	switch {
	case errors.As(err, &unknown):
		kind = unknown.DatabaseType
	case errors.As(err, &method):
		kind = method.DatabaseType
	default:
		return fmt.Errorf("not a whole MaxMind database: %w: download it again", err)
	}
	return fmt.Errorf("a database of the type %q has no countries: use GeoLite2-Country, GeoLite2-City or one like them", kind)
}
