// Package pair finds the weights that the parameters of an optimizer's state
// belong to. The state mostly numbers them, and no file says which number is
// which weight. Find goes by, in this order,
//
//	the parameters' own names, flat partitions of one length, names as keys
//	a pairing remembered, if it still holds
//	the data: a weight's residual correlates with -exp_avg/sqrt(exp_avg_sq)
//	the order of the modules, which must agree with what the data say
//
// and leaves alone what none of them settles. The residual of a weight follows
// its own moments with a correlation of 0.06 to 0.5; the best wrong pair of a
// real chain has 0.03, and noise one over the root of the number of elements.
//
// Two of several equally good answers are none: a pairing is either certain or
// declined, with the reason.
package pair
