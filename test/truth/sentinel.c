/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sentinel FILE: opens or makes FILE for reading and writing. Its open, exec and exit come after everything that was done before it was
 * started, in each of the two rings: once they have arrived, so has the rest.
 */
#include "truth.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	CHECK(open(argv[1], O_RDWR | O_CREAT, 0600));
	return 0;
}
