"""The probe of a dry run: is it worth to parallelise this job?"""
