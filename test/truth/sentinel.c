/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sentinel FILE: opens FILE for reading. Its open, exec and exit come after everything that was done before it was
 * started, in each of the two rings: once they have arrived, so has the rest.
 */
#include "truth.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	CHECK(open(argv[1], O_RDONLY));
	return 0;
}
