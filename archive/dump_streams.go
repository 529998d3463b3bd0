package archive

import "fmt"

// streamDumps print one entry of a stream.
var streamDumps = [numStreams]func(d *dumper){
	strKinds:   dumpKind,
	strMasks:   func(d *dumper) { d.note("  %b", d.uvarint()) },
	strValues:  dumpNumber,
	strRefs:    dumpNumber,
	strNames:   func(d *dumper) { d.note("  %q", d.str()) },
	strRaw:     func(d *dumper) { d.note("  %q", d.take(uint64(len(d.p)))) },
	strSymbols: dumpSymbol,
	strInts:    dumpNumber,
	strGets:    dumpNumber,
	strStrings: dumpString,
	strFixed:   func(d *dumper) { d.take(uint64(len(d.p))); d.note("  arguments") },
}

// dumpStreams prints what follows the form of a structured column.
func dumpStreams(d *dumper) {
	var lengths [numStreams]uint64
	for i := range lengths {
		lengths[i] = d.uvarint()
		d.note("length of %s: %d", streamNames[i], lengths[i])
	}
	for i, n := range lengths {
		fmt.Fprintf(d.w, "%s\n", streamNames[i])
		s := newDumper(d.w, d.take(n), d.at)
		for len(s.p) > 0 {
			streamDumps[i](s)
		}
		d.rest, d.at = d.p, s.at
	}
}

func dumpNumber(d *dumper) { d.note("  %d", d.uvarint()) }

func dumpKind(d *dumper) {
	k := d.u8()
	d.note("  %s", kindNames[min(k, numKinds-1)])
}

func dumpSymbol(d *dumper) {
	switch b := d.u8(); {
	case b == symInt:
		d.note("  number")
	case b == symPut:
		d.note("  put")
	case b == symGet:
		d.note("  get")
	default:
		d.note("  %q", b)
	}
}

func dumpString(d *dumper) {
	if n := d.uvarint(); n > 0 {
		d.note("  %q", d.take(n-1))
		return
	}
	d.note("  the next number")
}
