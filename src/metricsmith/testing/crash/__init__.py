"""What a disk holds after a crash at any moment: file operations are recorded, and replayed in part.

`record` watches a program and writes down each of its changes to the files of a folder, in their order;
`states` makes from any part of that record what a kill or a power cut would have left; `victim` is a program
that does all that the store and the journal do.
"""
