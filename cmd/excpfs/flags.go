package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"excpfs/archive"
)

const exitCodes = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 damage found.\n"

var errHelp = errors.New("help was asked for")

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

// flagSet is the flags of a verb with its help.
type flagSet struct {
	*flag.FlagSet
	help string
}

func newFlags(verb, help string) *flagSet {
	f := &flagSet{flag.NewFlagSet(verb, flag.ContinueOnError), strings.TrimLeft(help, "\n")}
	f.SetOutput(io.Discard)
	return f
}

func (f *flagSet) printHelp(w io.Writer) {
	fmt.Fprint(w, f.help)
	any := false
	f.VisitAll(func(*flag.Flag) { any = true })
	if any {
		fmt.Fprint(w, "\nFlags:\n")
		f.SetOutput(w)
		f.PrintDefaults()
		f.SetOutput(io.Discard)
	}
	fmt.Fprint(w, "\n"+exitCodes)
}

// parse reads flags wherever they stand (mount(8) puts them last) and returns
// the other arguments, of which there must be from least to most (-1: any number).
func parse(f *flagSet, args []string, least, most int) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			f.printHelp(os.Stdout)
			return nil, errHelp
		} else if err != nil {
			return nil, usagef("%v", err)
		}
		passed := len(args) - f.NArg()
		if passed > 0 && args[passed-1] == "--" {
			rest = append(rest, f.Args()...)
			break
		}
		if f.NArg() == 0 {
			break
		}
		rest = append(rest, f.Arg(0))
		args = f.Args()[1:]
	}
	switch {
	case len(rest) < least:
		return nil, usagef("too few arguments: %d given, %d needed", len(rest), least)
	case most >= 0 && len(rest) > most:
		return nil, usagef("too many arguments: %q is one more than needed", rest[most])
	}
	return rest, nil
}

// profileFlags are --profile and the parameters of profile excp.
type profileFlags struct {
	name        string
	alpha, beta float64
	bits        uint
}

func (p *profileFlags) register(f *flagSet) {
	f.StringVar(&p.name, "profile", "excp", "`name` of the encoding: excp (lossy for float tensors) or exact (every bit)")
	f.Float64Var(&p.alpha, "alpha", 5e-5, "excp: `factor` of the threshold below which changes of a weight are dropped; larger is smaller and coarser")
	f.Float64Var(&p.beta, "beta", 2, "excp: first moments below `factor` times their mean are dropped")
	f.UintVar(&p.bits, "bits", 4, "excp: 2^`bits`-1 centres for a tensor, from 2 to 8")
}

func (p *profileFlags) profile(f *flagSet) (archive.Profile, error) {
	set := map[string]bool{}
	f.Visit(func(g *flag.Flag) { set[g.Name] = true })
	switch {
	case p.name == "exact" && (set["alpha"] || set["beta"] || set["bits"]):
		return archive.Profile{}, usagef("--alpha, --beta and --bits belong to profile excp; profile exact has no parameters")
	case p.name == "exact":
		return archive.Profile{Name: "exact"}, nil
	case p.name != "excp":
		return archive.Profile{}, usagef("there is no profile %q; choose excp or exact", p.name)
	case !(p.alpha > 0 && p.alpha <= 1e6) || !(p.beta >= 0 && p.beta <= 1e6):
		return archive.Profile{}, usagef("--alpha must be above 0 and --beta 0 or more")
	case p.bits < 2 || p.bits > 8:
		return archive.Profile{}, usagef("--bits must be from 2 to 8, not %d", p.bits)
	}
	return archive.Profile{Name: "excp", Alpha: p.alpha, Beta: p.beta, Bits: uint8(p.bits)}, nil
}

// size is a flag in bytes, written as 512M or 4GiB.
type size int64

func (s *size) String() string { return formatSize(int64(*s)) }

func (s *size) Set(text string) error {
	digits := strings.TrimRight(text, "BbIiKkMmGgTt")
	shift, ok := map[string]uint{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.TrimSuffix(strings.TrimSuffix(
		strings.ToUpper(text[len(digits):]), "B"), "I")]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 || n > int64(1)<<62>>shift {
		return fmt.Errorf("write a number of bytes with K, M, G or T, such as 512M")
	}
	*s = size(n << shift)
	return nil
}

// mountOptions is -o of mount(8): ro and allow_other, the flags of the verb
// without their dashes, and what fstab lines carry for mount(8) itself.
type mountOptions struct {
	f                    *flagSet
	readOnly, allowOther bool
}

func (m *mountOptions) String() string { return "" }

func (m *mountOptions) Set(list string) error {
	for _, o := range strings.Split(list, ",") {
		if err := m.set(o); err != nil {
			return err
		}
	}
	return nil
}

func (m *mountOptions) set(option string) error {
	key, value, hasValue := strings.Cut(option, "=")
	switch {
	case option == "ro":
		m.readOnly = true
	case option == "rw":
		m.readOnly = false
	case option == "allow_other":
		m.allowOther = true
	case forMountItself[option], strings.HasPrefix(option, "x-"), strings.HasPrefix(option, "comment="):
	case hasValue && key != "o" && m.f.Lookup(key) != nil:
		return m.f.Set(key, value)
	default:
		return fmt.Errorf("option %q is not known; known are ro, rw, allow_other and the flags of excpfs mount (such as profile=exact)", option)
	}
	return nil
}

// forMountItself are options of fstab lines that mount(8) acts on or that
// change nothing here.
var forMountItself = map[string]bool{
	"": true, "defaults": true, "auto": true, "noauto": true, "user": true, "nouser": true, "users": true,
	"nofail": true, "_netdev": true, "dev": true, "nodev": true, "suid": true, "nosuid": true, "exec": true,
	"atime": true, "noatime": true, "relatime": true, "async": true,
}
